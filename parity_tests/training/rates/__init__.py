"""Do optimizers, schedules and callbacks make the steps that Keras makes?"""

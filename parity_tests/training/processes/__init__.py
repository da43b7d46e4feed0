"""Do several processes train the model that one trains, and does none of them end unnoticed?"""

"""What is measured, each written as its own users write it; asked by name in its own process."""

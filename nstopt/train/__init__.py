"""Training of style nets: losses, training pictures, the loop, and one module per system."""

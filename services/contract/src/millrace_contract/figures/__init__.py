"""What follows from the sums of a window, worked out once for everybody: losses, waterfall, key figures. Pure."""

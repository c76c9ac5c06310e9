"""The arithmetic: compiled CPU kernels, their torch twin, and the mask generator."""

"""Triton kernels for the output step of a layer, and the choice between them and plain torch.

Triton is optional: nothing here imports it before a kernel is launched.
"""

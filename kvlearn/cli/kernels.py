"""Where our JupyterLab looks for kernels: where every Jupyter does, but they start quietly.

A kernel warns in the terminal that it does not encrypt what it sends; ours talks to this machine
alone, and a student who reads that line can do nothing about it. Errors are told as ever.
"""

from __future__ import annotations

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

QUIET = "--IPKernelApp.log_level=ERROR"


class QuietKernels(KernelSpecManager):
    """The kernels of this machine; Python's own are told to log errors only."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The kernel of that name, as it is to be started."""
        spec = super().get_kernel_spec(kernel_name)
        if "ipykernel_launcher" in spec.argv:
            spec.argv = [*spec.argv, QUIET]
        return spec

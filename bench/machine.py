"""What it was measured on: without that, no figure can be compared with another."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from worker.demo.broker import KAFKA_VERSION

_PACKAGES: Final = (
    "onnxruntime",
    "transformers",
    "torch",
    "faust-streaming",
    "aiokafka",
    "msgspec",
    "comment-screener",
)


def describe_machine() -> dict[str, str]:
    """Processor, cores, memory, kernel, versions; Linux: it reads /proc."""
    return {
        "cpu": _cpu(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "kafka": f"{KAFKA_VERSION}, one broker on the same cores",
    } | {package: _version(package) for package in _PACKAGES}


def _cpu() -> str:
    """Its name and the instructions that int8 kernels look for: many a machine does not tell more of its model."""
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    flags = fields.get("flags", "").split()
    wanted = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]
    return f"{fields.get('model name', platform.machine())} ({' '.join(wanted)})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

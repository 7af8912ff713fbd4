"""Which of several processes this one is, as the environment says it."""

import dataclasses
import os
from collections.abc import Mapping

from aihealth.errors import UserError

# Number of processes, index of this one, address of the first: Keras' names, then JAX's.
_NAMES = (
    (
        "KERAS_DISTRIBUTION_NUM_PROCESSES",
        "KERAS_DISTRIBUTION_PROCESS_ID",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    ),
    ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"),
)
# What `srun` sets for each of its tasks; JAX finds the first one's address in the node list.
_SLURM = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST")
VARIABLES = frozenset(name for names in (*_NAMES, _SLURM) for name in names)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of one training.

    Attributes:
        processes: how many there are.
        index: of this one; the first, 0, prints and writes.
        address: "host:port" of the first one; None where JAX finds it (SLURM), or there is one.
    """

    processes: int = 1
    index: int = 0
    address: str | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> "Cluster":
        """Read the usual variables: Keras' own, JAX's, then those of a SLURM job step.

        Raises:
            UserError: a variable is missing or no number, or the index is out of range.
        """
        env = os.environ if env is None else env
        for count, index, address in _NAMES:
            if count in env:
                first = env.get(address, "").split(",")[0]
                found = cls(_number(env, count), _number(env, index), first or None)
                if found.processes > 1 and ":" not in first:
                    raise UserError(f"{address} must be host:port of the first process")
                break
        else:
            count, index, nodes = _SLURM
            if not (nodes in env and count in env):
                return cls()
            found = cls(_number(env, count), _number(env, index))
        if not 0 <= found.index < found.processes:
            raise UserError(f"{index} {found.index}: must be 0 to {found.processes - 1}")
        return found

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.index == 0

    def rows(self, batch_size: int) -> slice:
        """This process' rows of a batch that all share."""
        share = batch_size // self.processes
        return slice(self.index * share, (self.index + 1) * share)


def _number(env: Mapping[str, str], name: str) -> int:
    if not env.get(name, "").isdecimal():
        raise UserError(f"the environment variable {name} is needed, a whole number")
    return int(env[name])

"""Where evaluations run: in this process, in worker processes, or on the machines of a Ray cluster.

An executor does tasks and reports each as it ends, in whatever order. A worker that dies, hangs or
fails costs its task one more attempt, never the search.
"""

from morphogen.evaluators.executors.base import Executor, Job, Local, Make, Report
from morphogen.evaluators.executors.make import make_executor

__all__ = ["Executor", "Job", "Local", "Make", "Report", "make_executor"]

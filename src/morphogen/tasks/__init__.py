"""Tasks: what a network is to learn, from which data, and how it is judged.

task = Task(train=pairs, loss=nn.functional.mse_loss)
x, y, _ = task.stream("train", 64, torch.Generator().manual_seed(0)).next()
"""

from morphogen.tasks.base import Task
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.metric import Metric, Sums
from morphogen.tasks.streams import Stream

__all__ = ["Batch", "Examples", "Metric", "Stream", "Sums", "Task"]

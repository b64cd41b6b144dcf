"""Classification of signals: their data, augmentation and normalisation.

task = SignalTask.of("signals.npz", augment=SignalAugment(jitter=0.05))
x, y, _ = task.stream("train", 64, torch.Generator().manual_seed(0)).next()
"""

from morphogen.tasks.signals.augment import SignalAugment
from morphogen.tasks.signals.config import SignalConfig
from morphogen.tasks.signals.data import Signals
from morphogen.tasks.signals.task import Data, SignalExamples, SignalTask

__all__ = ["Data", "SignalAugment", "SignalConfig", "SignalExamples", "SignalTask", "Signals"]

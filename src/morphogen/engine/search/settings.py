"""Settings of a search that no method knows, in parts by what each is for."""

from __future__ import annotations

from typing import Literal

from morphogen.bilevel.regularisation import Regularisation
from morphogen.core.config import (
    Count,
    Depth,
    Devices,
    Images,
    Natural,
    Seconds,
    Seed,
    Share,
    SomeImages,
    Threads,
    Width,
    config,
)
from morphogen.engine.devices import Accelerator, Precision
from morphogen.scoring.decide import Order
from morphogen.tasks.configs import AnyTaskConfig

TRAIN_IMAGES, VALID_IMAGES, BATCH_SIZE = 3000, 1600, 64
"""What is taken where nothing is asked for and the data have as many."""


@config
class Split:
    """Split: how much of the training data trains what."""

    train_images: SomeImages = 0
    """examples that train weights, cut from the training data (paper, CIFAR-10: 25000); 0: 3000, or
    what the data have; so the next"""
    valid_images: SomeImages = 0
    """examples that train the architecture, cut from the training data (paper, CIFAR-10: 25000), or
    of a validation part of the data's own; 0: 1600, or what the data have"""


@config
class Network:
    """Network: its size, and how it is executed."""

    channels: Width = 8
    """C, channels of the supernet's first cells (paper: 16)"""
    depth: Depth = 1
    """NAS-Bench-201: cells per stage, N (paper: 5; 1Shot1: 3); DARTS space: all cells (paper: 8)"""
    dropout: Share = 0.0
    """probability that an element of a layer's output is dropped; networks of sequences"""
    execution: Literal["fused", "plain"] = "fused"
    """fused: shared activations, pools and norms; plain: one module per option, the reference"""


@config
class Hardware:
    """Hardware: on what the search runs."""

    accelerator: Accelerator = "cpu"
    """cpu, cuda, mps or auto"""
    devices: Devices = 1
    """data-parallel processes; each takes its share of every batch"""
    precision: Precision = "32-true"
    """bf16-mixed: convolutions in bfloat16"""
    threads: Threads = 0
    """CPU threads per process; 0: torch's own choice, divided by the processes"""


@config
class Selection:
    """Selection: how a trained supernet gives the architecture."""

    rule: Literal[
        "magnitude",
        "perturbed-accuracy",
        "discretised-accuracy",
        "perturbed-zc",
        "discretised-zc",
    ] = "magnitude"
    """the rule by which a gradient method's supernet, once trained, gives the architecture:
    magnitude, the method's own (the strongest gates); or one choice after the other by what is lost
    without an option (perturbed) or had with it alone (discretised): accuracy on
    evaluation-images, or the zero-cost proxy evaluation-proxy (zc)"""
    order: Order = "random"
    """which choice that rule decides next: random; fixed, the first; reverse, the last; the one
    with the best option (global-op) or the best mean (global-edge), asked anew before each decision
    (iter) or once for all (once)"""


@config
class Evaluation:
    """Evaluation: how architectures are scored."""

    evaluator: Literal["training", "table", "supernet", "proxy"] = "training"
    """how a black-box method's architectures are scored: a short training, a benchmark table, with
    the weights of the trained supernet that --from names, or a zero-cost proxy of the untrained
    network"""
    budget: Count = 10
    """budget of a black-box method, in different architectures"""
    objectives: str = ""
    """what a black-box method optimises, the first one first: the metric (of images and signals
    accuracy; from the evaluator), params, flops, memory (bytes read and written), latency (measured
    here, so no two runs are equal); several, e.g. accuracy,params, need a method of several
    objectives (default: the metric alone)"""
    epochs: Count = 1
    """epochs of the short training"""
    patience: Natural = 0
    """end the short training when the search-validation accuracy has not risen for so many epochs,
    and score its best; 0: train all epochs and score the last"""
    images: SomeImages = 1000
    """search-validation examples on which evaluator supernet scores, and select by accuracy does;
    0: all"""
    norms: Literal["recalibrate", "batch"] = "recalibrate"
    """batch norms of evaluator supernet: statistics made anew for each architecture, or those of
    each batch"""
    recalibration: Images = 1000
    """training examples from which they are made anew"""
    proxy: str = "nwot"
    """the proxy of evaluator proxy, and of select by a zero-cost proxy, on batches of batch_size
    training examples; as an evaluator it stands in for the objective accuracy and is recorded by
    its own name. `morphogen score --help` lists them"""
    table: str = ""
    """of evaluator table: a file that `morphogen import-nasbench101` wrote, for NAS-Bench-1Shot1
    (default: the shipped table)"""
    metric: str = ""
    """column of the benchmark table to search by (default: the table's own)"""


@config
class Workers:
    """Workers: where architectures are evaluated."""

    executor: Literal["local", "processes", "ray"] = "local"
    """where architectures are evaluated: in this process, in worker processes, on a Ray cluster"""
    count: Threads = 0
    """workers of the executor; 0: one for each core of this machine"""
    round_size: Natural = 0
    """architectures asked for at once, and told together; 0: as many as there are workers. The
    result depends on it, and not on the number of workers"""
    timeout: Seconds = 0.0
    """seconds after which a worker's evaluation is given up; 0: never"""
    retries: Natural = 1
    """further attempts at an evaluation that failed, or whose worker died or hung; then the
    architecture is recorded as failed and the search goes on"""
    ray_address: str = ""
    """a running Ray cluster, e.g. auto (default: one is made on this machine, which no other can
    reach; whoever reaches a cluster of yours may run code in it, see Ray's documentation)"""


@config
class Diagnostics:
    """Diagnostics: what is measured beside the search."""

    images: SomeImages = 1000
    """search-validation examples on which each epoch compares the supernet with its discretization;
    0: do not"""


@config
class Settings:
    """How long, on how much data, how large and where a search runs; the defaults take minutes.

    A part may be given by its class or as a mapping: `Settings(network={"channels": 16})`.
    """

    seed: Seed = 0
    """every random stream comes from it: same seed, same machine, same result"""
    epochs: Count = 5
    """epochs of the search (paper, NAS-Bench-201: DARTS 50, iDARTS 30, GDAS 250)"""
    steps_per_epoch: Natural = 0
    """steps of an epoch, in phases that train; 0: one pass over the examples that the publication
    counts by: search-validation examples where gates learn by gradient, training examples of
    paths"""
    batch_size: Natural = 0
    """examples of a joint batch, over all processes (paper: 64); 0: 64, or fewer where the data are
    few"""
    without: str = ""
    """options that no choice has, e.g. none; several with commas (paper: DARTS-PT and Zero-Cost-PT
    search the DARTS space without none)"""
    limit: str = ""
    """costs that no architecture may exceed, in quotes: 'params<=1.2M, flops<=200M, memory<=4MiB,
    latency<=5ms' (a number without a unit: parameters, FLOPs, bytes, milliseconds)"""
    loggers: str = ""
    """where epochs are written besides the run directory: tensorboard, mlflow, wandb (offline
    unless WANDB_MODE says otherwise), or several, e.g. tensorboard,mlflow"""
    split: Split = Split()
    task: AnyTaskConfig = None
    """what only data of their kind can be asked for; None: the defaults of that kind"""
    network: Network = Network()
    hardware: Hardware = Hardware()
    regularisation: Regularisation = Regularisation()
    selection: Selection = Selection()
    evaluation: Evaluation = Evaluation()
    workers: Workers = Workers()
    diagnostics: Diagnostics = Diagnostics()

"""Fast execution: the sums of gated, normalised convolutions that searchable cells are made of.

One module per option reads and writes every activation a dozen times. Here the options of a cell
share their work: ReLU and pooling once per node, one convolution for all edges that leave a node,
and `mix`, which normalises, weights and adds everything that leaves a node in as few passes over
memory as torch's kernels allow. Tensors are channels-last, so that a batch of images is a matrix
[batch * height * width, channels] and a batch norm a column operation.

Three facts are used:

- A batch norm without affine, then a gate g, is c -> a * c + b with a = g / sigma, b = -a * mu
  per channel. Adding it to a node is one pass.
- The statistics of a 1x1 convolution W r follow from those of its input: mean W m and variance
  diag(W Cov(r) W'). So gate, norm and convolution are ONE matrix, (g / sigma) W, and the output of
  the convolution is never written. The covariance is taken of centred r, so nothing cancels.
- Every gate gradient is an inner product that the backward pass of the norm forms anyway.

In float32 all of it is as near to float64 as plain execution: `statistics` adds up a batch in many
short sums. Gradients of both jump where rounding takes the input of a ReLU across 0, or makes
another pixel the winner of a max pooling, and differ by that.

`mix` has a hand-written backward. When that backward is itself to be differentiated (iDARTS), in
eval mode, and with several processes, `mix_plain` says the same in differentiable operations.

With several processes (`torch.distributed`, world size above 1) batch statistics in train mode are
those of the joint batch; gradients averaged over processes are then those of the joint batch.
"""

from __future__ import annotations

from morphogen.supernets.fused.layout import (
    as_images,
    as_matrix,
    at_least_float32,
    channels_last,
    full_precision,
    quick_layout,
)
from morphogen.supernets.fused.mixing import mix, mix_plain
from morphogen.supernets.fused.norms import (
    EPS,
    BatchNorm,
    Moments,
    batch_norm,
    covariance_plain,
    joint_rows,
    moments_plain,
    running_moments,
    several_processes,
    sum_over_processes,
    update_running,
)
from morphogen.supernets.fused.pooling import average_pool
from morphogen.supernets.fused.statistics import normalised, served
from morphogen.supernets.fused.terms import Mixed, Wiring

__all__ = [
    "EPS",
    "BatchNorm",
    "Mixed",
    "Moments",
    "Wiring",
    "as_images",
    "as_matrix",
    "at_least_float32",
    "average_pool",
    "batch_norm",
    "channels_last",
    "covariance_plain",
    "full_precision",
    "joint_rows",
    "mix",
    "mix_plain",
    "moments_plain",
    "normalised",
    "quick_layout",
    "running_moments",
    "served",
    "several_processes",
    "sum_over_processes",
    "update_running",
]

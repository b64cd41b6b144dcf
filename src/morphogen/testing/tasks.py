"""What every task keeps; the suite that the tasks inside are held to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from morphogen.core import ConfigError, DataError
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import call, length_of, take, tensors_of
from morphogen.tasks import Batch, Task
from morphogen.tasks.metric import added
from morphogen.testing.checks import Checks, require


class TaskChecks(Checks):
    """The promises of one task.

    Args:
        make: makes the task, always the same, with at least eight examples in each search part.
        network: makes a network for it: from a batch's `x` to what its loss takes.
    """

    def __init__(self, make: Callable[[], Task], network: Callable[[], nn.Module]) -> None:
        self.make = make
        with forked_rng(seed=0):
            self.network = network().eval()

    # -- data --------------------------------------------------------------------------------

    def check_parts_do_not_meet(self) -> None:
        """What trains weights ranks no architecture."""
        task = self.make()
        train, valid = (set(task.rows(part).tolist()) for part in ("train", "valid"))
        require(not train & valid, f"{len(train & valid)} examples are in both search parts")
        require(len(train) == task.length("train"), "length of train is not its rows")
        pool = task.rows("pool").tolist()
        require(sorted(train | valid) == pool, "the pool is not both search parts in one")

    def check_the_split_is_the_same_again(self) -> None:
        """A task that is made again has the same examples in the same parts."""
        one, two = self.make(), self.make()
        for part in ("train", "valid"):
            require(torch.equal(one.rows(part), two.rows(part)), f"{part} is cut otherwise")
        require(one.contents() == two.contents(), "the same data have other contents")
        require(one.changed(two.contents()) is None, "the same data count as changed")

    def check_a_stream_follows_its_generator(self) -> None:
        """The same state gives the same batches, augmentation included."""
        one, two = (self._stream() for _ in range(2))
        for _ in range(3):
            require(_same(one.next(), two.next()), "one generator gives other batches")

    def check_a_stream_goes_on_where_it_was(self) -> None:
        """From its state dict, to the bit."""
        stream, again = self._stream(), self._stream(seed=1)
        stream.next()
        state = stream.state_dict()
        expected = [stream.next() for _ in range(3)]
        again.load_state_dict(state)
        for batch in expected:
            require(_same(again.next(), batch), "a stream that goes on gives other batches")

    def check_only_what_is_gathered_is_refreshed(self) -> None:
        """Fixed examples know nothing of the network; others are gathered once for a refresh."""
        task, stream = self.make(), self._stream()
        plain = task.stream("train", 4, torch.Generator().manual_seed(0))
        if not task.gathers:
            require(_same(stream.next(), plain.next()), "a refresh changes fixed examples")
            return
        each = task.drawn("train")
        for rounds in (1, 2):
            for _ in range(task.steps("train", 4)):
                stream.next()
            require(stream.seen == rounds * each, f"{stream.seen} examples gathered, not {each}")
            stream.refresh(self._output)
        steps = (stream.steps_per_epoch, task.steps("train", 4))
        require(len(set(steps)) == 1, f"an epoch has {steps[0]} steps by the stream, {steps[1]}")

    def check_processes_share_a_batch(self) -> None:
        """Two shares, one after the other, are the joint batch, augmentation included."""
        joint = self._stream()
        shares = [joint.shard(rank, 2) for rank in range(2)]
        for _ in range(2):
            whole, parts = joint.next(), [share.next() for share in shares]
            for which in ("x", "y"):
                pieces = [list(tensors_of(getattr(part, which))) for part in parts]
                for tensor, *halves in zip(tensors_of(getattr(whole, which)), *pieces, strict=True):
                    if tensor.shape[1:] != halves[0].shape[1:]:  # padded to another length
                        continue
                    require(torch.equal(tensor, torch.cat(halves)), f"shares of {which} differ")
            require(sum(part.size for part in parts) == whole.size, "sizes of shares do not add up")

    def check_a_pass_has_every_example_once(self) -> None:
        """In order, without augmentation; the last batch may be smaller."""
        task = self.make()
        for part in ("train", "valid"):
            seen = sum(length_of(batch.y) for batch in task.once(part, 3))
            require(seen == task.length(part), f"a pass over {part} has {seen} examples")
            first, again = (next(task.once(part, 3)) for _ in range(2))
            require(_same(first, again), f"two passes over {part} differ")

    def check_the_example_is_a_batch_of_one(self) -> None:
        """As the network takes it."""
        example = self.make().example()
        lengths = {len(tensor) for tensor in tensors_of(example)}
        require(lengths == {1}, f"the example has {lengths} along its first axis")

    def check_the_test_part_is_closed(self) -> None:
        """It is no part of which batches can be had, and cannot be opened in a search."""
        task = self.make()
        for ask in (task.rows, task.length):
            try:
                ask("test")
            except ConfigError:
                continue
            raise AssertionError("the test part can be had as a part")
        with task.sealed("the search"):
            try:
                task.open_test("to check")
            except DataError:
                pass
            else:
                raise AssertionError("the test part can be opened in a search")
        require(task.test_openings == (), "an opening that was refused is on record")
        if task.has_test:
            require(len(task.open_test("to check")) > 0, "the test part is empty")
            require(task.test_openings == ("to check",), "an opening is not on record")

    # -- loss and metric ---------------------------------------------------------------------

    def check_the_loss_is_a_finite_scalar(self) -> None:
        """The one that trains and the one that judges; of the first there is a gradient."""
        task = self.make()
        batch = next(task.once("train", 4))
        output = self._output(batch.x)
        for train in (True, False):
            loss = task.loss(output, batch.y, train=train)
            require(loss.ndim == 0 and bool(loss.isfinite()), f"the loss is {loss}")
        weights = [p for p in self.network.parameters() if p.requires_grad]
        task.loss(output, batch.y, train=True).backward()  # type: ignore[no-untyped-call]
        moved = any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in weights)
        self.network.zero_grad(set_to_none=True)
        require(moved, "no weight of the network has a gradient")

    def check_losses_of_examples_have_the_loss_as_their_mean(self) -> None:
        """`each=True`: one number for each example, weighed by its units where those differ."""
        task = self.make()
        batch = next(task.once("train", 4))
        with torch.no_grad():
            output = self._output(batch.x)
            loss, each = task.loss(output, batch.y), task.loss(output, batch.y, each=True)
        require(each.shape == (length_of(batch.y),), f"losses of examples have shape {each.shape}")
        units = [task.units(take(batch.y, [row])) for row in range(len(each))]
        mean = float((each.cpu() * torch.tensor(units)).sum()) / sum(units)
        close = abs(mean - float(loss)) <= 1e-5 * max(1.0, abs(float(loss)))
        require(close, f"the loss is {float(loss)}, and the mean of the examples' {mean}")

    def check_sums_add_up(self) -> None:
        """Over batches and over processes, to those of one pass."""
        task = self.make()
        whole = task.measure(self._output, task.once("valid", 4))
        shares = [
            task.measure(self._output, task.once("valid", 2, rank=r, world=2)) for r in (0, 1)
        ]
        total = added(shares[0], shares[1])
        require(total.keys() == whole.keys(), "shares have other sums")
        for name, value in whole.items():
            close = torch.allclose(total[name].double(), value.double(), rtol=1e-5, atol=1e-6)
            require(close, f"{name} is {value} in one pass, {total[name]} in two shares")
        values = [task.value(sums) for sums in (whole, total)]
        require(abs(values[0] - values[1]) <= 1e-4 * max(1, abs(values[0])), f"values {values}")

    # -- the record --------------------------------------------------------------------------

    def check_its_description_is_plain(self) -> None:
        """All that a report knows of it: JSON, with the metric's name, unit and direction."""
        task = self.make()
        told: dict[str, Any] = json.loads(json.dumps(task.describe()))
        metric = {"name", "unit", "higher_is_better"}
        require(metric <= set(told.get("metric", ())), f"the description's metric lacks {metric}")
        parts = set(told.get("parts", ()))
        require(parts == {"train", "valid"}, f"it says what the parts {sorted(parts)} are")
        score = task.metric.score(2.0)
        require(score in (2.0, -2.0), f"2 scores {score}; accepted: 2, or -2 where less is better")
        require(all(isinstance(s, str) for s in task.remarks()), "a remark is no sentence")
        require(all(isinstance(s, str) for s in task.prepared()), "what was done is no phrase")

    def _output(self, x: Any) -> Any:
        return call(self.network, x)

    def _stream(self, seed: int = 0) -> Any:
        """Of the train part; what is gathered is gathered with the network."""
        stream = self.make().stream("train", 4, torch.Generator().manual_seed(seed))
        stream.refresh(self._output)
        return stream


def _same(one: Batch, two: Batch) -> bool:
    pairs = [
        (a, b)
        for x, y in ((one.x, two.x), (one.y, two.y))
        for a, b in zip(tensors_of(x), tensors_of(y), strict=True)
    ]
    return one.size == two.size and all(torch.equal(a, b) for a, b in pairs)

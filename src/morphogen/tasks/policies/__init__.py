"""Policies: a network that acts in environments, trained by what it lives through (PPO).

task = PolicyConfig(envs=4).make("env:minatar/breakout", Cut())
stream = task.stream("train", 64, torch.Generator().manual_seed(0))
stream.refresh(net)  # what follows is gathered with the network
x, y, _ = stream.next()

The contract:

- A batch has observations `x`, float32 `[b, channels, height, width]` (of environments without
  pictures `[b, features]`), and a dict `y` of tensors `[b]`: `actions`, `log_probs` of the policy
  that acted, `advantages`, `returns` (targets of the value, TD(lambda)), `values`.
- A network gives one tensor `[b, actions + 1]`: logits of the actions and, last, the value. So
  `Task.outputs` is `actions + 1`, the last linear layer of any network for images is both heads on
  a shared encoder, and any space of image networks can be searched.
- The data follow the network: `Task.gathers`. Before every epoch the engine has the streams
  refreshed (`Problem.gather` with the supernet and the gates that the method's state stands for,
  `Stream.refresh` with a stand-alone network); at the next batch the network, in evaluation mode
  and as it then is, plays `horizon` frames in `envs` environments. Methods know nothing of it.
- An epoch is one such round: `passes` passes over `envs * horizon` frames in minibatches.
  Checkpoints lie between epochs. Environments are stored in them, or played again from seeds and
  actions, so that a resumed run has the bits of an uninterrupted one.
- Rewards are scaled (`RewardScale`) for training, never for the metric: the mean return of whole
  episodes under the stochastic policy, on seeds and levels that no other part has.
"""

from morphogen.tasks.policies.config import PolicyConfig
from morphogen.tasks.policies.task import PolicyTask

__all__ = ["PolicyConfig", "PolicyTask"]

"""The promises that methods, spaces and tasks keep, as checks for those that you add.

    import pytest
    from morphogen.testing import MethodChecks

    @pytest.fixture(scope="module")
    def checks(tmp_path_factory):
        return MethodChecks("my-method", tmp_path_factory.mktemp("runs"))

    @pytest.mark.parametrize("promise", MethodChecks.promises())
    def test_my_method_keeps(checks, promise):
        checks.check(promise)

Or all of them at once, without pytest: `MethodChecks("my-method").check_all()`. A promise that is
not kept raises an `AssertionError` that says which and how. Those inside are held to the same.
"""

from morphogen.testing.checks import Checks
from morphogen.testing.methods import MethodChecks
from morphogen.testing.spaces import SpaceChecks
from morphogen.testing.tasks import TaskChecks

__all__ = ["Checks", "MethodChecks", "SpaceChecks", "TaskChecks"]

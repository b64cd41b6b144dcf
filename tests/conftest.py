"""Being here puts this folder on the path, so that tests can import its helpers."""

import os

# Before torch is imported, here and in every process that a test starts: workers share the cores,
# and two torch processes with two threads each are far slower than with one.
os.environ["OMP_NUM_THREADS"] = "1"

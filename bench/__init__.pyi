from bench.api import RunResult as RunResult
from bench.api import compare as compare
from bench.api import gate as gate
from bench.api import load_matrix as load_matrix
from bench.api import plan as plan
from bench.api import read_run as read_run
from bench.api import run as run
from bench.api import to_frame as to_frame
from bench.errors import BenchError as BenchError

__version__: str

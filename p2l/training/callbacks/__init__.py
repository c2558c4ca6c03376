"""Lightning callbacks: evaluation, published checkpoint, example leaderboards, records, starts and averages."""

from p2l.training.callbacks.at_end import AtEnd
from p2l.training.callbacks.averaging import WeightEMA
from p2l.training.callbacks.evaluate import EvaluateVotes
from p2l.training.callbacks.examples import ExampleLeaderboards
from p2l.training.callbacks.last import SaveLast
from p2l.training.callbacks.marginal import StartFromMarginal
from p2l.training.callbacks.publish import PublishCheckpoint
from p2l.training.callbacks.record import RecordPoint
from p2l.training.callbacks.routing import RoutingCurve
from p2l.training.callbacks.suite import EvaluateSuite
from p2l.training.callbacks.throughput import Throughput
from p2l.training.callbacks.truth import RecoverTruth

__all__ = [
    "AtEnd",
    "EvaluateSuite",
    "EvaluateVotes",
    "ExampleLeaderboards",
    "PublishCheckpoint",
    "RecordPoint",
    "RecoverTruth",
    "RoutingCurve",
    "SaveLast",
    "StartFromMarginal",
    "Throughput",
    "WeightEMA",
]

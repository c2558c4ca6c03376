"""Lightning callbacks: evaluation, published checkpoints, example leaderboards, throughput, averaged weights."""

from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.evaluate_suite import EvaluateSuite
from p2l.training.callbacks.evaluate_votes import EvaluateVotes
from p2l.training.callbacks.example_leaderboards import ExampleLeaderboards
from p2l.training.callbacks.fit_cost_head import FitCosts
from p2l.training.callbacks.fit_head_posterior import FitPosterior
from p2l.training.callbacks.keep_states import KeepStates
from p2l.training.callbacks.measured_choice import MeasuredChoice
from p2l.training.callbacks.progress_lines import ProgressLines
from p2l.training.callbacks.publish_checkpoint import PublishCheckpoint
from p2l.training.callbacks.record_point import RecordPoint
from p2l.training.callbacks.recover_truth import RecoverTruth
from p2l.training.callbacks.routing_curve import RoutingCurve
from p2l.training.callbacks.save_last import SaveLast
from p2l.training.callbacks.start_from_marginal import StartFromMarginal
from p2l.training.callbacks.stop_early import StopEarly
from p2l.training.callbacks.throughput import Throughput
from p2l.training.callbacks.weight_ema import WeightEMA
from p2l.training.callbacks.write_router_config import WriteRouterConfig
from p2l.training.callbacks.write_run_page import WriteRunPage

__all__ = [
    "EndOfRun",
    "EvaluateSuite",
    "EvaluateVotes",
    "ExampleLeaderboards",
    "FitCosts",
    "FitPosterior",
    "KeepStates",
    "MeasuredChoice",
    "ProgressLines",
    "PublishCheckpoint",
    "RecordPoint",
    "RecoverTruth",
    "RoutingCurve",
    "SaveLast",
    "StartFromMarginal",
    "StopEarly",
    "Throughput",
    "WeightEMA",
    "WriteRouterConfig",
    "WriteRunPage",
]

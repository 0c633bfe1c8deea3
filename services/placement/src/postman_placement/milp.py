# SPDX-License-Identifier: Apache-2.0
"""Mixed-integer linear programs, built by whole columns and rows, solved by HiGHS to a gap of nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import highspy
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEASIBILITY_TOLERANCE: Final = 1e-7
"""Of rows, which are all scaled to about 1: a tenth of what a load may be above its capacity."""

OBJECTIVE_SCALE: Final = 1e6
"""Costs are scaled so that the dearest thinkable solution costs this: HiGHS's absolute tolerances then are small."""

SMALLEST_COEFFICIENT: Final = 1e-12
"""HiGHS drops smaller ones: a group that is so small beside a helper's capacity."""


@dataclass(frozen=True, slots=True)
class MilpResult:
    """What came out. `values` are of the best solution, None if there is none; no solution costs less than `bound`."""

    status: Literal["optimal", "infeasible", "stopped"]
    bound: float
    values: Floats | None
    reduced_costs: Floats | None = None
    """Of a solve without integers: by how much each column above its lower bound makes everything dearer."""


@dataclass
class Milp:
    """A minimisation that grows by blocks of columns and rows."""

    _cost: list[Floats] = field(default_factory=list)
    _lower: list[Floats] = field(default_factory=list)
    _upper: list[Floats] = field(default_factory=list)
    _is_integer: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    _row_lower: list[Floats] = field(default_factory=list)
    _row_upper: list[Floats] = field(default_factory=list)
    _entries: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)
    columns: int = 0
    rows: int = 0

    def add_columns(
        self, cost: Floats, upper: Floats, *, lower: Floats | float = 0.0, is_integer: npt.ArrayLike = True
    ) -> Ints:
        """Adds one column for each cost and returns their numbers."""
        size = len(cost)
        self._cost.append(cost)
        self._lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), size))
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), size))
        self._is_integer.append(np.broadcast_to(np.asarray(is_integer, dtype=np.bool_), size))
        self.columns += size
        return np.arange(self.columns - size, self.columns, dtype=np.int64)

    def add_rows(self, lower: npt.ArrayLike, upper: npt.ArrayLike, size: int) -> Ints:
        """Adds empty rows between these bounds and returns their numbers."""
        self._row_lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), size))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), size))
        self.rows += size
        return np.arange(self.rows - size, self.rows, dtype=np.int64)

    def put(self, rows: Ints, columns: Ints, values: npt.ArrayLike) -> None:
        """Sets coefficients; what is set more than once is added up."""
        values = np.broadcast_to(np.asarray(values, dtype=np.float64), len(rows))
        self._entries.append((rows, columns, values))

    def solve(self, time_s: float, *, is_relaxed: bool = False) -> MilpResult:
        """Solves, more or less within the time: HiGHS looks at the clock at its leisure."""
        cost = np.concatenate([*self._cost, np.zeros(0)])
        upper = np.concatenate([*self._upper, np.zeros(0)])
        ceiling = float(np.abs(cost) @ np.where(np.isfinite(upper), upper, 1.0))
        scale = OBJECTIVE_SCALE / ceiling if ceiling > 0 else 1.0
        solver = _solver(time_s)
        solver.passModel(self._model(cost * scale, upper, is_relaxed))
        solver.run()
        return _result(solver, scale, is_relaxed=is_relaxed)

    def _model(self, cost: Floats, upper: Floats, is_relaxed: bool) -> highspy.HighsLp:
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = self.columns, self.rows
        model.col_cost_, model.col_upper_ = cost, upper
        model.col_lower_ = np.concatenate([*self._lower, np.zeros(0)])
        model.row_lower_ = np.concatenate([*self._row_lower, np.zeros(0)])
        model.row_upper_ = np.concatenate([*self._row_upper, np.zeros(0)])
        start, index, value = self._by_column()
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_, model.a_matrix_.index_ = start.astype(np.int32), index.astype(np.int32)
        model.a_matrix_.value_ = value
        if not is_relaxed:
            kinds = np.concatenate([*self._is_integer, np.zeros(0, dtype=np.bool_)])
            types = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            model.integrality_ = [types[int(kind)] for kind in kinds]
        return model

    def _by_column(self) -> tuple[Ints, Ints, Floats]:
        """The matrix column by column, rows ascending, equal places added up."""
        none = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._entries, none, strict=True))
        place, inverse = np.unique(columns * max(self.rows, 1) + rows, return_inverse=True)
        value = np.bincount(inverse, weights=values, minlength=len(place))
        column, row = np.divmod(place, max(self.rows, 1))
        start = np.searchsorted(column, np.arange(self.columns + 1))
        return start, row, value.astype(np.float64)


def _solver(time_s: float) -> highspy.Highs:
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in {
        "output_flag": False,
        "threads": 1,  # the same answer on every machine, and a core left for the service
        "random_seed": 0,
        "time_limit": max(time_s, 0.01),
        "mip_rel_gap": 0.0,
        "mip_abs_gap": 1e-6,  # a 10^-12th of OBJECTIVE_SCALE
        "mip_feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "primal_feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "small_matrix_value": SMALLEST_COEFFICIENT,
    }.items():
        if solver.setOptionValue(option, value) != highspy.HighsStatus.kOk:
            raise RuntimeError(f"this HiGHS does not take {option} = {value}")
    return solver


def _result(solver: highspy.Highs, scale: float, *, is_relaxed: bool) -> MilpResult:
    status = solver.getModelStatus()
    info = solver.getInfo()
    if status == highspy.HighsModelStatus.kInfeasible:
        return MilpResult("infeasible", float("inf"), None)
    values = None
    if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
        values = np.array(solver.getSolution().col_value, dtype=np.float64)
    is_optimal = status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kModelEmpty)
    if is_relaxed:
        bound = info.objective_function_value / scale if is_optimal else float("-inf")
        reduced_costs = np.array(solver.getSolution().col_dual, dtype=np.float64) / scale
        return MilpResult("optimal" if is_optimal else "stopped", bound, values, reduced_costs)
    has_integers = info.mip_node_count >= 0  # HiGHS solves a problem without integers as a plain LP
    bound = info.mip_dual_bound if has_integers else info.objective_function_value
    if not is_optimal and not has_integers:
        bound = float("-inf")
    return MilpResult("optimal" if is_optimal else "stopped", bound / scale, values)

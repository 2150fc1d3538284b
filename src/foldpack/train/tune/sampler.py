"""The sampler of a study that several processes may share: its random numbers follow from the number of the trial."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class NumberedTPE(BaseSampler):
    """Optuna's TPE, begun anew for every trial, whose number nobody else has.

    So processes that start together do not try the same values, and one alone always tries those that it would.
    """

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Called first of all."""
        self.inner = TPESampler(seed=trial.number, constant_liar=True)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Of the keys that are chosen together."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial,
                        search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Values that are chosen together."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str,
                           param_distribution: BaseDistribution) -> Any:
        """One value."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """What TPE does then is for constraints, which there are none of."""

"""Guide the proposals of a study's search: by scores on other data, and by what its trials compile."""

from nightune.tasks.prior_scores import prior_scores
from nightune.tasks.program_structures import structure_of
from nightune.tuning.search.guidance import Guidance
from nightune.tuning.study.study import Study


def guidance_of(study: Study, task: str) -> Guidance:
    """Return what guides the proposals of a study's search beside its results, for the task of its data."""
    return Guidance(prior_scores(study, task), structure_of(study.space, study.path.parent))

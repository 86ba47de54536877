"""What the pipeline promises about its techniques, by topic: each promise is a test of that name."""

import ast
from functools import cache
from pathlib import Path

import pytest

PROMISES = {
    "optimizers": (
        "test_gradient_descent_on_a_quadratic",
        "test_momentum_on_a_quadratic",
        "test_adam_steps_by_the_rate_under_a_constant_gradient",
        "test_parity_with_optax_over_twenty_updates",
        "test_optimizers_match_their_golden_trajectories",
        "test_noise_keeps_sgd_at_its_stationary_variance",
        "test_a_rate_follows_its_hypergradient",
        "test_parity_with_optax_contrib",
    ),
    "learning rates": (
        "test_every_schedule_gives_its_golden_table",
        "test_schedules_match_optax_at_every_update",
        "test_the_rate_at_equal_examples_does_not_depend_on_the_batch_size",
        "test_plateau_matches_its_golden_rates",
        "test_the_range_test_on_a_quadratic_suggests_and_stops_at_known_rates",
    ),
    "batch sizes": (
        "test_every_policy_sums_to_the_examples_and_respects_the_cap",
        "test_micro_batches_make_the_update_of_the_whole_batch",
        "test_geometric_grows_by_a_fifth_and_never_stalls",
        "test_four_gradients_have_the_variance_the_norm_and_the_diversity_of_the_table",
        "test_linear_scaling_is_exact_in_the_limit_of_small_rates",
        "test_fifty_random_sizes_need_no_more_shapes_than_buckets",
    ),
    "weight decay": (
        "test_decay_profiles_match_their_golden_values",
        "test_only_kernels_are_decayed",
        "test_decay_is_l2_for_sgd_and_is_not_for_adam",
        "test_a_decay_that_changes_is_honoured_without_a_new_trace",
    ),
    "penalties": (
        "test_penalty_strengths_match_the_conversion_table",
        "test_a_trained_linear_model_matches_scikit_learn",
        "test_proximal_steps_match_their_golden_values",
        "test_a_penalty_changes_no_metric_that_ranks",
        "test_gap_control_reaches_the_target_gap",
    ),
    "stopping": (
        "test_patience_stops_after_the_intended_epoch",
        "test_the_best_epoch_is_returned_under_every_rule",
        "test_the_checkpoint_reproduces_the_best_validation_metric",
        "test_combined_acts_on_two_plateaus_and_stops_at_the_third",
        "test_an_explosion_inside_an_engine_never_returns_weights_that_are_not_finite",
    ),
    "search and analysis": (
        "test_importance_shares_match_functions_of_known_shares",
        "test_hyperband_of_81_epochs_by_thirds_has_the_brackets_of_the_formula",
        "test_a_null_study_of_40_identical_recipes_rarely_claims_a_better_best",
    ),
    "engines": (
        "test_every_compiled_kind_matches_fit",
        "test_trials_after_a_diverged_one_are_bit_equal_to_those_of_a_new_engine",
        "test_every_pair_of_kinds_trains_two_epochs_to_finite_weights",
        "test_fit_resumes_bit_equal",
        "test_the_compiled_engine_resumes_bit_equal",
        "test_the_logged_rate_size_and_decay_reconstruct_every_epoch",
    ),
}


@cache
def named_tests() -> frozenset[str]:
    """The names of all test functions."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in Path("tests").rglob("test_*.py"))
    nodes = (node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(node.name for node in nodes if node.name.startswith("test_"))


@pytest.mark.parametrize(("topic", "name"), [(topic, name) for topic, names in PROMISES.items() for name in names])
def test_every_promise_has_its_test(topic: str, name: str) -> None:
    assert name in named_tests(), f"{topic}: the test of this promise is missing"

"""Signs of life: what hangs is distinguished from what works, and from a time in which the flow did not look."""

from nightune.tasks.workers.silence import LONGEST_STEP_SECONDS, Silence


def test_silence_grows_while_a_sign_stays_the_same_and_ends_with_another_one() -> None:
    now = [0.0]
    silence = Silence(lambda: now[0])
    heard = []
    for now[0], sign in enumerate((1, 1, 1, 2, 2)):
        heard.append(silence.seconds("a", sign))
    assert heard == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert silence.seconds("b", 2) == 0.0


def test_a_listener_that_was_suspended_itself_takes_no_other_one_for_silent() -> None:
    now = [0.0]
    silence = Silence(lambda: now[0])
    silence.seconds("a", 1)
    now[0] = 3600.0
    assert silence.seconds("a", 1) == LONGEST_STEP_SECONDS

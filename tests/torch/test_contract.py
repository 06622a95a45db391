"""The torch classifier keeps what every classifier promises: the same suite, on a checkpoint with random weights.

What asks for judgement (`test_it_knows_cruel_from_kind` and its like) is left out: random weights have none.
"""

from pathlib import Path

import pytest

from tests.torch.checkpoints import write_bert
from tests.unit.test_classifier import (  # noqa: F401  pytest finds them here, with the classifier of this file
    test_a_long_text_becomes_pieces_of_one_width_that_overlap,
    test_a_short_text_is_one_piece,
    test_a_text_scores_the_same_to_the_last_bit_alone_and_in_any_company,
    test_a_width_is_at_least_the_piece_and_never_shrinks,
    test_and_the_same_every_time,
    test_and_the_same_from_two_threads_at_once,
    test_any_text_up_to_the_limit_is_scored,
    test_every_text_gets_a_score_from_0_to_1_for_every_label,
    test_it_says_what_it_is,
    test_its_labels_are_some_of_ours_in_our_order,
    test_scores_come_in_the_order_of_the_texts,
)
from worker.checkpoint import TorchClassifier
from worker.classifier import Classifier


@pytest.fixture(scope="module", params=["float32", "half"])
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder: Path = write_bert(tmp_path_factory.mktemp("checkpoint"))
    return TorchClassifier(folder, batch_tokens=1024, threads=1, device="cpu", precision=request.param)

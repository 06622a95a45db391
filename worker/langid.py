"""What ranks languages: py3langid, whose model comes in its wheel (4.6 MB; nothing is downloaded).

Only the composition root imports this. Chosen by measurement over fastText's lid.176, CLD2, Lingua and simplemma (README,
design decisions).
"""

from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from worker.errors import StartupError
from worker.language import Detector, Rank

# Of the 140 that it knows, those that many people write. With the dialects and small neighbours of the others in it, a
# short Spanish or Portuguese text is spread over so many that none of them is likely.
_LANGUAGES: Final = (  # noqa: SIM905  as a list it would be a line a language
    "af am ar az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu ha he hi hr ht hu hy id is it ja ka kk km kn ko "
    "ku ky lt lv mk ml mn mr ms mt my ne nl no pa pl ps pt ro ru si sk sl so sq sr sv sw ta te tg th tl tr tt uk ur uz vi yo "
    "zh zu"
).split()


def open_ranking() -> Rank:
    """Load the model, which takes half a second and some 90 MB.

    Raises:
        StartupError: it does not load.
    """
    try:
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        identifier.set_languages(_LANGUAGES)
    except Exception as error:
        raise StartupError(f"the language detector's model does not load: {error}") from error

    def rank(text: str) -> dict[str, float]:
        return dict(identifier.rank(text))

    return rank


def open_detector() -> Detector:
    """The detector as the worker uses it. Errors as in `open_ranking`."""
    return Detector(open_ranking())

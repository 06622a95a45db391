"""Which language a text is in: when a text may say so, and whom to believe."""

import threading
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from worker.langid import LANGUAGES, open_detector, open_ranking
from worker.language import STRANGE, UNDETERMINED, Detection, Detector, Language, Ranked, is_supported, settle
from worker.normalise import normalise

ENGLISH = {"en": 0.9, "fr": 0.1}
REAL = open_detector()


def really(text: str) -> Detection:
    [detection] = REAL.detect([text])
    return detection


class Ranking:
    """Answers the same to every text, and remembers which it was asked about."""

    def __init__(self, answer: Mapping[str, float] = ENGLISH) -> None:
        self.answer = ranked(answer)
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> list[Ranked]:
        self.asked += texts
        return [self.answer] * len(texts)


def ranked(likely: Mapping[str, float]) -> Ranked:
    best = max(likely, key=lambda language: likely[language])
    return Ranked(likely.get("en", 0.0), best, likely[best])


def detect(text: str, answer: Mapping[str, float] = ENGLISH) -> Detection:
    [detection] = Detector(Ranking(answer)).detect([text])
    return detection


def asked(text: str) -> list[str]:
    """What is left of a text by the time its language is looked for."""
    ranking = Ranking()
    Detector(ranking).detect([text])
    return ranking.asked


# ---- whether there is enough to go by


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lol",
        "gg",
        "❤️",
        "😂😂😂",
        "?!",
        "12:34",
        "nice vid",
        "extraordinarily",
        "hahahahaha ahaha",
        "xDDD lolol lmaooo",
        "jajajaja kkkkk",
        "https://example.com/some/long/path it",
        "@somebody_with_a_name #averylongtag ok",
        "¯\\_(ツ)_/¯",
        "ಠ_ಠ",
        "ಠ益ಠ",
        "ツ ツ ツ",
        "nice ツ",
    ],
)
def test_too_little_to_go_by_cannot_be_told(text: str) -> None:
    assert detect(text) in (UNDETERMINED, STRANGE)
    assert asked(text) == []


@pytest.mark.parametrize("text", ["extremely", "how are you", "how are they", "how we are it"])
def test_two_words_and_ten_letters_are_the_least(text: str) -> None:
    letters = sum(map(str.isalpha, text))

    assert (detect(text).language is not None) == (letters >= 10)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SEE You Tomorrow", "see you tomorrow"),
        ("@max look at https://example.com/x #fun it isn't 4ever h4rd", "look at it isn't"),
        ("haha that was so good lol hahaha", "that was so good"),
        ("hi, he said hey", "hi he said hey"),
        ("rt so true &amp; so good &#39; indeed", "so true so good indeed"),
        ("see you in Москва", "see you in"),
        ("naïve café déjà vu", "naïve café déjà vu"),
    ],
)
def test_what_has_no_language_is_left_out(text: str, left: str) -> None:
    answered = Ranking()
    Detector(answered).detect([text + " and some more plain words to go by"])

    assert answered.asked == [f"{left} and some more plain words to go by"]


@pytest.mark.parametrize(
    "noise",
    [
        "http://a",
        "HTTPS://a.b/c",
        "www.a",
        "WWW.a.b",
        "@name",
        "#tag",
        "&amp;",
        "&#x27;",
        "rt",
        "RT",
        "4ever",
        "x2",
        "b٣r",
    ],
)
def test_each_kind_of_noise_is_left_out_where_it_is_the_only_one(noise: str) -> None:
    assert asked(f"how are you {noise} today my friend") == ["how are you today my friend"]


@pytest.mark.parametrize("text", ["с у к а", "т_ы-с.у к а ok lol", "ن ع ا ل"])  # noqa: RUF001  that is the point
def test_letters_of_another_script_that_stand_alone_are_a_word_where_there_are_four(text: str) -> None:
    assert detect(text, {"ru": 1.0}) == Detection("ru", 1.0)


# ---- what Latin letters say


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"en": 0.5, "fr": 0.5}, Detection("en", 0.5)),
        ({"en": 0.49, "fr": 0.51}, UNDETERMINED),
        ({"en": 0.03, "fr": 0.97}, UNDETERMINED),
        ({"en": 0.02, "fr": 0.98}, Detection("fr", 0.98)),
        ({"en": 0.0, "fr": 0.5, "pt": 0.5}, Detection("fr", 1.0)),
        ({"en": 0.0, "pt": 0.49, "es": 0.3}, Detection("und", 1.0)),
        ({"en": 0.0, "pt": 0.3, "es": 0.2}, Detection("und", 1.0)),
        ({"en": 0.0, "pt": 0.29, "es": 0.2}, UNDETERMINED),
        ({"fr": 1.0}, Detection("fr", 1.0)),
        ({"en": 0.0, "zxx": 1.0}, Detection("und", 1.0)),
    ],
)
def test_a_text_overrules_only_where_it_is_sure(answer: Mapping[str, float], expected: Detection) -> None:
    found = detect("words enough to go by", answer)

    assert found.language == expected.language
    assert found.confidence == pytest.approx(expected.confidence)


# ---- what is strange where nothing can be told


@pytest.mark.parametrize(
    "text",
    ["ok", "nice one", "lol", "hahaha yes", "W", "❤️", "1:23", "@somebody #sometag", "let's go", "don\u2019t", "mum's"],
)
def test_common_english_words_and_what_is_no_word_are_not_strange(text: str) -> None:
    assert detect(text) == UNDETERMINED


@pytest.mark.parametrize("text", ["puta", "ta gueule", "te odio", "nice vid", "t'es moche", "ok idiota", "l'ami"])
def test_one_word_that_is_no_common_english_one_is_enough(text: str) -> None:
    assert detect(text) == STRANGE


def test_so_is_a_word_in_another_script_and_a_longer_text_of_two_languages() -> None:
    unsure = {"en": 0.4, "fr": 0.6}

    assert detect("we are all going home да", unsure) == STRANGE
    assert detect("we are all going home", unsure) == UNDETERMINED
    assert detect("we are all going maison", unsure) == STRANGE


# ---- what other scripts say


@pytest.mark.parametrize(
    "text",
    [
        "да",
        "Ты тупой",
        "死",
        "好!",
        "#тупая",
        "@ты_кто",
        "नहीं",
        "คนโง่",
        "شكرا",
        "ありがとう",
        "고마워",
        "не надо lol",
        "ok да",
    ],
)
def test_another_script_is_not_english_however_short(text: str) -> None:
    assert detect(text) == Detection("und", 1.0)


def test_a_letter_or_two_among_many_of_ours_are_no_language() -> None:
    assert detect("I love 방탄 so much, they are the best").language == "en"
    assert detect("the letter ж looks like a bug").language == "en"


def test_twenty_letters_are_a_sentence_in_any_company() -> None:
    text = "this is a very long and very friendly sentence in plain English that says nothing at all, really nothing. "

    assert detect(text * 3 + "убирайся отсюда дура").language == "en"
    assert detect(text * 3 + "убирайся отсюда дурак тупой").language == "und"


def test_another_script_is_named_where_it_is_likely_and_never_english() -> None:
    assert detect("привет", {"ru": 0.6, "bg": 0.4}).language == "ru"
    assert detect("привет", {"ru": 0.4, "bg": 0.3}).language == "und"
    assert detect("привет", ENGLISH).language == "und"
    assert asked("привет, my друг") == ["привет друг"]


def test_words_are_those_of_one_script_and_of_two_letters() -> None:
    assert asked("ಠ益ಠ привет stu\u0440\u0456д ツ") == ["привет \u0440\u0456д"]


# ---- whom to believe

TEXTS = {"cannot be told": UNDETERMINED, "strange": STRANGE, "en": Detection("en", 0.9), "fr": Detection("fr", 0.99)}


@pytest.mark.parametrize(
    ("declared", "text", "expected"),
    [
        (None, "cannot be told", Language(None, None)),
        (None, "strange", Language(None, None, undetermined=True)),
        ("und", "strange", Language(None, None, undetermined=True)),
        ("en", "strange", Language("en", True)),
        ("pt", "strange", Language("pt", False)),
        ("und", "cannot be told", Language(None, None)),
        ("zxx", "cannot be told", Language(None, None)),
        ("unknown", "cannot be told", Language(None, None)),
        ("unknown", "en", Language("en", True)),
        ("unknown", "fr", Language("fr", False)),
        ("en-GB", "cannot be told", Language("en-GB", True)),
        ("pt-BR", "cannot be told", Language("pt-BR", False)),
        (None, "en", Language("en", True)),
        (None, "fr", Language("fr", False)),
        ("und", "fr", Language("fr", False)),
        ("en_US", "en", Language("en-US", True)),
        ("eng", "cannot be told", Language("en", True)),
        ("eng", "en", Language("en", True)),
        ("eng", "fr", Language("fr", False)),
        ("fr-CA", "fr", Language("fr-CA", False)),
        ("pt", "fr", Language("pt", False)),
        ("en", "fr", Language("fr", False)),
        ("pt", "en", Language("en", True)),
    ],
)
def test_whom_to_believe(declared: str | None, text: str, expected: Language) -> None:
    assert settle(declared, TEXTS[text]) == expected


@pytest.mark.parametrize(
    "declared",
    [
        *("und", "UND", "und-Latn", "und_Cyrl", "mul", "mis", "zxx", "Zxx", "un", "xx"),
        *("unknown", "null", "None", "undefined", "english", "English (US)", "português", "n/a", "C", "POSIX"),
        *("", " ", "!!", "?", "-", "_", "*", "12", "e", "e1", "\u212an", "\u043f\u0442"),
        *("en-", "-en", " en", "en ", "en\n", "en--GB", "en-GB!", "en_US.UTF-8", "en, pt", "en;q=0.8"),
        *("en-a", "en-x", "pt-a-b", "de-abcdefghi", "x", "x-", "i", "i-", "i-klingon-one", "x" * 35),
    ],
)
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_tag_or_names_no_language_counts_as_not_given(declared: str, text: str) -> None:
    assert settle(declared, TEXTS[text]) == settle(None, TEXTS[text])


@pytest.mark.parametrize(
    ("declared", "tag", "supported"),
    [
        ("en", "en", True),
        ("EN-gb", "EN-gb", True),
        ("en_US_POSIX", "en-US-POSIX", True),
        ("eng-GB", "en-GB", True),
        ("ENG_us", "en-us", True),
        ("en-GB-oxendict", "en-GB-oxendict", True),
        ("en-u-ca-gregory", "en-u-ca-gregory", True),
        ("en-x-1", "en-x-1", True),
        ("engl-GB", None, None),
        ("pt", "pt", False),
        ("fil", "fil", False),
        ("enm", "enm", False),
        ("nan", "nan", False),
        ("zh-Hant-TW", "zh-Hant-TW", False),
        ("zh-yue-HK", "zh-yue-HK", False),
        ("es-419", "es-419", False),
        ("de-CH-1901", "de-CH-1901", False),
        ("sl-rozaj-biske-1994", "sl-rozaj-biske-1994", False),
        ("de-a-bb-b-cc-x-q", "de-a-bb-b-cc-x-q", False),
        ("qme", "qme", False),
        ("x-en", "x-en", False),
        ("i-klingon", "i-klingon", False),
    ],
)
def test_what_is_a_tag_is_believed_and_told_as_one(declared: str, tag: str | None, supported: bool | None) -> None:
    assert settle(declared, UNDETERMINED) == Language(tag, supported)


@pytest.mark.parametrize(
    ("tag", "supported"),
    [
        ("en", True),
        ("eng", True),
        ("ENG-GB", True),
        ("EN", True),
        ("en-GB", True),
        ("en_US", True),
        ("de", False),
        ("enm", False),
        ("x-en", False),
        ("und", False),
        ("", False),
    ],
)
def test_the_primary_subtag_says_whether_the_model_knows_a_language(tag: str, supported: bool) -> None:
    assert is_supported(tag) is supported


# ---- with the real ranking


@pytest.mark.parametrize(
    "text",
    [
        "lol",
        "gg wp",
        "❤️❤️",
        "first",
        "noice",
        "omg slay bestie",
        "W vid fr fr no cap",
        "ur so pretty!!",
        "bruh moment 💀",
        "sksksk yasss queen slayyy",
        "we gon be late lmao",
        "i dont wanna go 2 skool 2day",
        "ty ily",
        "poggers",
        "rip",
        "can u pls do minecraft next",
        "HAHAHA YES",
        "wtf dude thats so unfair",
        "ngl ts kinda fire",
        "kys",
        "mid",
    ],
)
def test_what_english_speaking_children_write_is_never_another_language(text: str) -> None:
    assert really(normalise(text)).language in ("en", None)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("what a lovely drawing, I like the colours", "en"),
        ("eres un idiota y nadie te quiere", "es"),
        ("personne ne t'aime dans cette classe", "fr"),
        ("du bist so dumm, lösch dich", "de"),
        ("você é incrível, não desista", "pt"),
        ("jesteś głupi i brzydki", "pl"),
        ("Harika olmuş, eline sağl\u0131k!", "tr"),
        ("ты тупой, уходи отсюда", "ru"),
        ("أنت غبي ولا أحد يحبك", "ar"),
        ("お前なんか嫌いだ、消えろ", "ja"),
        ("정말 잘했어요! 다음 영상도 기대할게요", "ko"),
        ("这个游戏什么时候更新", "zh"),
    ],
)
def test_languages_are_told_apart(text: str, language: str) -> None:
    assert really(normalise(text)).language == language


SHORT_ENGLISH = (  # noqa: SIM905  as a list it would be a line a comment
    "ok, lol, nice, nice video, first, so cool, love this, omg yes, same, thank you, thanks for sharing, haha so true, "
    "what song is this, who else is here in 2026, this is so good, i love your videos, please do more, part 2 please, wow, "
    "that was funny, so pretty, your dog is so cute, happy birthday, good job, well done, can you play minecraft next, "
    "i did not know that, who is watching in july, you got this, my favourite song, this made my day, see you tomorrow, "
    "where did you get that, im crying, no way, me too, best video ever, i miss this show, goodnight everyone, can i join, "
    "what is the name of the game, he is so fast, she sings so well, how old are you, subbed, done, early, i agree with you, "
    "that is not fair, stop it please, cant wait for the next one, the ending though, anyone else, let's go, yes please, "
    "you look great, i want one, new fan here, keep going, that goal was crazy"
).split(", ")
SHORT_AND_RUDE = (  # noqa: SIM905  as above
    "puta, idiota, imbecil, hijo de puta, vete a la mierda, callate gorda, eres una mierda, te odio, das asco, "
    "nadie te quiere, filho da puta, vai se foder, cala a boca, sua gorda, voce e feia, ninguem te quer, vai tomar no cu, "
    "seu lixo, hurensohn, halt die fresse, du bist dumm, fick dich, du opfer, verpiss dich, ta gueule, ferme la, "
    "t'es moche, sale pute, va te faire foutre, fils de pute, stronzo, vaffanculo, sei brutta, fai schifo, kurwa, "
    "spierdalaj, jestes gruba, hou je bek, kankerhoer, orospu cocugu, siktir git, cok cirkinsin, hora, din jävla idiot, "
    "lortehore, baka ka, putang ina mo, bobo ka, anjing lo, dasar bodoh"
).split(", ")
"""In other languages with Latin letters, as they are typed."""


def told(texts: Sequence[str]) -> tuple[int, int, int, int]:
    """How many are English, another language, not to be told, and strange among those."""
    found = REAL.detect([normalise(text) for text in texts])
    english = sum(detection.language == "en" for detection in found)
    nothing = sum(detection.language is None for detection in found)
    return english, len(found) - english - nothing, nothing, sum(detection.strange for detection in found)


def test_of_short_comments_half_cannot_be_told_and_of_those_the_strange_are_rarely_english() -> None:
    assert told(SHORT_ENGLISH) == (29, 0, 31, 3)
    assert told(SHORT_AND_RUDE) == (0, 9, 41, 41)


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_any_text_gets_an_answer_and_always_the_same(text: str) -> None:
    found = really(normalise(text))

    assert found == really(normalise(text))
    assert 0 <= found.confidence <= 1
    assert (found.language is None) == (found in (UNDETERMINED, STRANGE))


@settings(max_examples=60)
@given(
    st.lists(
        st.text(max_size=60)
        | st.sampled_from(["wie geht es dir ", "how are you ", "ça va ", "да "]).map(lambda text: text * 400)
    )
)
def test_the_answer_depends_on_the_text_alone(texts: list[str]) -> None:
    assert REAL.detect(texts) == [really(text) for text in texts]


def test_in_long_and_short_company_it_is_the_same() -> None:
    texts = [
        *(f"{'wie geht es dir heute ' * times}{times}" for times in (1, 2, 3, 5, 40, 60, 100, 200)),
        "",
        "a",
        "how are you today",
    ]

    assert REAL.detect(texts) == [really(text) for text in texts]
    assert REAL.detect(texts[::-1]) == [really(text) for text in texts[::-1]]


@pytest.mark.parametrize(
    "text", ["so good", "ganz schön hier", "ПРИВЕТ", "श्री", "x", "", "\ud800", "wörd " * 400, "добро " * 5, "nn"]
)
def test_what_is_likely_is_what_the_library_says(text: str) -> None:
    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    library.set_languages(LANGUAGES)

    [found] = open_ranking()([text])

    likely = dict(library.rank(text))
    assert found.english == pytest.approx(likely["en"], abs=1e-4)
    assert found.probability == pytest.approx(max(likely.values()), abs=1e-4)
    assert likely[found.best] == pytest.approx(max(likely.values()), abs=1e-4)


def test_threads_get_what_one_gets() -> None:
    texts = [f"{words} {number}" for number in range(50) for words in ("how are you today", "wie geht es dir heute")]
    expected = [really(text) for text in texts]
    results: dict[int, list[Detection]] = {}

    def work(thread: int) -> None:
        results[thread] = [really(text) for text in texts]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == dict.fromkeys(range(4), expected)

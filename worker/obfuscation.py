"""What people do to a word so that a filter does not know it, and how each trick is undone.

A step of `worker/normalise.py`, after the text has been folded and cleaned. Each trick is a function from a text to the edits
that undo it there, so that the same code makes the plain text and the map back to the original. A trick is undone where the
outcome is a word that `worker/words.py` knows, or where it can hardly be anything else (a word of mixed scripts, many letters
spelt out); the rest stays as it was typed.
"""

# ruff: noqa: RUF001, RUF002, RUF003, D403, SIM905  characters that look like others are what this is about; examples as people type them

import re
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Final

from worker.words import cut_up, is_disguised, is_known, rejoin, spelt, unleet, unmask, unstretch

Edit = tuple[int, int, str]
"""Start, end (after it: never empty) and what stands there instead; if it is as long, character for character."""

Trick = Callable[[str], list[Edit]]

# In an address, a sign is a sign, and a letter by itself is one of a name.
_ADDRESS: Final = re.compile(r"(?:https?://|\bwww\.)\S+|(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.-]+", re.IGNORECASE)


def _outside_addresses(text: str, edits: list[Edit]) -> list[Edit]:
    addresses = [match.span() for match in _ADDRESS.finditer(text)] if edits else []
    at = 0
    kept = []
    for edit in edits:
        while at < len(addresses) and addresses[at][1] <= edit[0]:
            at += 1
        if at == len(addresses) or edit[1] <= addresses[at][0]:
            kept.append(edit)
    return kept


# ---- emoji that are letters

# Negative circled and squared letters; Unicode folds the other circled and squared ones itself.
_EMOJI_LETTER: Final = re.compile(r"([\U0001f150-\U0001f169\U0001f170-\U0001f189])\ufe0f?")
_INDICATORS: Final = re.compile(r"[\U0001f1e6-\U0001f1ff]+")
_KEYCAP: Final = re.compile(r"([0-9#*])\ufe0f?\u20e3")
_WITH_KEYCAPS: Final = re.compile(r"(?:[0-9#*]\ufe0f?\u20e3|[^\W_])++")
_FLAGS: Final = frozenset(
    "AC AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD "
    "CF CG CH CI CK CL CM CN CO CP CR CU CV CW CX CY CZ DE DG DJ DK DM DO DZ EA EC EE EG EH ER ES ET EU FI FJ FK FM FO FR GA GB "
    "GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU IC ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH "
    "KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY "
    "MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH "
    "SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TA TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM UN US UY UZ VA VC VE "
    "VG VI VN VU WF WS XK YE YT ZA ZM ZW".split()
)


def emoji_letters(text: str) -> list[Edit]:
    """🅱️ → B."""
    return [(*match.span(), chr(ord("A") + (ord(match[1]) - 0x1F150) % 0x20)) for match in _EMOJI_LETTER.finditer(text)]


def indicator_letters(text: str) -> list[Edit]:
    """🇫🇺🇨🇰 → FUCK; what is nothing but flags stays."""
    edits = []
    for match in _INDICATORS.finditer(text):
        letters = "".join(chr(ord(c) - 0x1F1E6 + ord("A")) for c in match[0])
        flags = len(letters) % 2 == 0 and all(letters[i : i + 2] in _FLAGS for i in range(0, len(letters), 2))
        if not flags or is_disguised(letters.lower()):
            edits.append((*match.span(), letters))
    return edits


def keycap_letters(text: str) -> list[Edit]:
    """h4️⃣te → h4te, which `signs` then reads; a keycap that is a number or a list's bullet stays."""
    if "\u20e3" not in text:
        return []
    edits: list[Edit] = []
    for match in _WITH_KEYCAPS.finditer(text):
        plain = _KEYCAP.sub(r"\1", match[0])
        if plain != match[0] and (unleet(plain.lower()) or (plain[0].isalpha() and unmask(plain.lower()))):
            edits += [(match.start() + k.start(), match.start() + k.end(), k[1]) for k in _KEYCAP.finditer(match[0])]
    return edits


# ---- letters that stand on their head

_TURNED: Final = dict(zip("ɐqɔpǝɟƃɓɥᴉıɾʞlʅɯuodbɹsʇnʌʍxʎz", "abcdefgghiijkllmnopqrstuvwxyz", strict=True))
_SURELY_TURNED: Final = re.compile("[ɐɔǝɟƃɓɥᴉɾʞʅɯɹʇʌʍʎ]")
_UPSIDE_DOWN: Final = re.compile(rf"[{''.join(_TURNED)}](?:[{''.join(_TURNED)} ,.!?'˙¡¿‘]*[{''.join(_TURNED)}])?")
_FEWEST_TURNED: Final = 3
"""That make a text one to be read upside down: fewer may be phonetics."""


def upside_down(text: str) -> list[Edit]:
    """ɟlǝsɹnoʎ → yourself."""
    if not _SURELY_TURNED.search(text):
        return []
    return [
        # Longer by the space, so that each letter stands for all of it: they are in another order.
        (*match.span(), "".join(_TURNED.get(c, c) for c in reversed(match[0])) + " ")
        for match in _UPSIDE_DOWN.finditer(text)
        if len(_SURELY_TURNED.findall(match[0])) >= _FEWEST_TURNED
    ]


# ---- letters that look like Latin ones

# The same to the eye in most fonts.
_TWINS: Final = dict(
    zip(
        "АВЕЅІЈКМНОРСТУХҮԌԚԜҺӀаеосрухіјѕԁһԛԝӏкүёїЁЇ"
        "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϳοναιρυκϲγχε"
        "օոսհցզյՏՕԼ"
        "ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃ"
        "ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ",
        "ABESIJKMHOPCTYXYGQWHIaeocpyxijsdhqwlkyeiEI"
        "ABEZHIKMNOPTYXCjovaipukcyxe"
        "onuhgqjSOL"
        "ABCDEGHiJKLMPRSTVWZ"
        "ABCDEFGHIJKLMNOPRSTUVWXYZ",
        strict=True,
    )
)
# Latin, but of no language's spelling: what stands here was chosen for its looks.
_ODD_LATIN: Final = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑɡƒ", "abcdefghijklmnoprstuvwyzagf", strict=True))
# Only alike: they are read as Latin where that makes a word.
_COUSINS: Final = dict(
    zip(
        "вмнтгипяшщьъцздэчБГДЖЗИПЦШЭЯЛлτησωβμπδθφάέήίόύώΣΛΔΩΠΞΘΦ",
        "bmhtrunrwwbbueaeyBRAXENNUWERNntnowbundooaenioywEAAONEOO",
        strict=True,
    )
)
# Of other languages in Latin script: they are read as English ones where that makes a word that people disguise. "før" is Danish.
_NEIGHBOURS: Final = dict(zip("ıøłđħŧƙƴØŁĐĦŦƘƳ", "ioldhtkyOLDHTKY", strict=True))
_LOOKALIKES: Final = {**_TWINS, **_ODD_LATIN, **_COUSINS, **_NEIGHBOURS}
_ANY_LOOKALIKE: Final = re.compile(f"[{''.join(_LOOKALIKES)}]")
_FOLD: Final = str.maketrans(_LOOKALIKES)
_WORD: Final = re.compile(r"[^\W\d_]+")
_ASCII_WORD: Final = re.compile(r"(?<![^\W_])[A-Za-z]+(?![^\W_])")
_LATIN_END: Final = "\u024f"
_GREEK: Final = re.compile(r"[\u0370-\u03ff]")


def lookalikes(text: str) -> list[Edit]:
    """Cyrillic іdіоt → idiot, in a word of mixed script, or in a text that is otherwise Latin.

    Another language's words stay: a letter that looks like no Latin one keeps its word as it is, and the words of
    lookalikes beside it.
    """
    if not _ANY_LOOKALIKE.search(text):
        return []
    fold: list[re.Match[str]] = []
    phrases: list[list[re.Match[str]]] = [[]]
    latin = foreign = 0
    for match in _WORD.finditer(text):
        word = match[0]
        alike = 0 if word.isascii() else sum(c in _LOOKALIKES for c in word)
        plain = len(word) if word.isascii() else sum(c not in _LOOKALIKES and c <= _LATIN_END for c in word)
        if plain and plain + alike == len(word):
            latin += len(word)
            phrases.append([])
            if alike and _is_latin_in_disguise(word):
                fold.append(match)
        else:
            foreign += len(word) if plain + alike < len(word) else 0
            phrases[-1].append(match)
    fold += [m for phrase in phrases if _spells_a_disguised_word(phrase) for m in phrase]
    if latin >= 3 and latin >= 4 * foreign:  # noqa: PLR2004  most of a text that is more than a letter
        fold += [m for phrase in phrases if all(_is_alike(m[0]) for m in phrase) for m in phrase if _is_twin(m[0])]
    else:
        fold += [m for phrase in phrases for m in phrase if _is_odd_latin(m[0])]
    return [
        (match.start() + at, match.start() + at + 1, _LOOKALIKES[c])
        for match in sorted(dict.fromkeys(fold), key=re.Match.start)
        for at, c in enumerate(match[0])
        if c in _LOOKALIKES
    ]


def _is_latin_in_disguise(word: str) -> bool:
    if any(c in _NEIGHBOURS for c in word):
        return is_disguised(word.translate(_FOLD).lower())
    # Two letters make a word too easily: ΔT.
    if len(word) > 2 and is_known(word.translate(_FOLD).lower()):  # noqa: PLR2004
        return True
    # One Greek letter at an edge is a unit or a symbol: μm, ΔT, αv.
    symbol = _GREEK.match(word[0]) or _GREEK.match(word[-1])
    return not symbol and not any(c in _COUSINS for c in word)


def _spells_a_disguised_word(phrase: list[re.Match[str]]) -> bool:
    """К Υ Ѕ: letters of two scripts, or of one, that are a word in a third."""
    letters = [m[0] for m in phrase]
    return all(len(c) == 1 and c in _LOOKALIKES for c in letters) and is_disguised(
        "".join(letters).translate(_FOLD).lower()
    )


def _is_alike(word: str) -> bool:
    return all(c in _LOOKALIKES for c in word)


def _is_odd_latin(word: str) -> bool:
    """Less than three letters may be phonetics."""
    return len(word) > 2 and all(c in _ODD_LATIN for c in word)  # noqa: PLR2004


def _is_twin(word: str) -> bool:
    """Whether a word of nothing but lookalikes, among Latin ones, is English. α and ε stand alone in every science."""
    plain = word.translate(_FOLD).lower()
    if any(c in _COUSINS or c in _NEIGHBOURS for c in word):
        return is_disguised(plain)
    return _is_odd_latin(word) or (is_known(plain) and not (len(word) == 1 and _GREEK.match(word)))


_CAPITAL_I: Final = re.compile(r"[a-z]I")


def capital_i(text: str) -> list[Edit]:
    """kiII, asshoIe → kill, asshole: in most fonts a capital I is an l."""
    if not _CAPITAL_I.search(text):
        return []
    edits: list[Edit] = []
    for match in _ASCII_WORD.finditer(text):
        word = match[0]
        if _CAPITAL_I.search(word) and not is_known(word.lower()) and is_known(word.replace("I", "l").lower()):
            edits += [(match.start() + at, match.start() + at + 1, "l") for at, c in enumerate(word) if c == "I"]
    return _outside_addresses(text, edits)


# ---- letters with something between them

_BETWEEN: Final = r" ?[.,_\-*+~|/•·:;=^] ?| "
_SPELT: Final = re.compile(
    rf"(?<![^\W_])(?<!['’])[A-Za-z01345@$!]({_BETWEEN})[A-Za-z01345@$!](?:\1[A-Za-z01345@$!])+(?![^\W_])(?!['’])"
)
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"
_SURELY_A_WORD: Final = 6
"""Letters in a row, with nothing but spaces between them, that are one word even if we do not know it."""


def spelt_out(text: str) -> list[Edit]:
    """i d i o t, i.d.i.o.t, f-u-c-k → one word; k i l l y o u → as many as there are."""
    edits: list[Edit] = []
    for match in _SPELT.finditer(text):
        step = len(match[1]) + 1
        letters = match[0][::step]
        words = _spelt_words(letters.lower(), spaced=match[1] == " ")
        if not words:
            continue
        at = match.start() - len(match[1])
        for word in words:
            for nth in range(len(word)):
                if at >= match.start():
                    between = (at, at + len(match[1]))
                    if nth:
                        edits.append((*between, ""))
                    elif match[1] != " ":
                        edits.append((*between, " "))
                at += step
    return _outside_addresses(text, edits)


def _spelt_words(letters: str, *, spaced: bool) -> list[str]:
    """What the letters spell; nothing if they are left alone."""
    if not letters.isalpha():
        word = unleet(letters)
        return [letters] if word is not None and is_disguised(word) and sum(map(str.isalpha, letters)) > 1 else []
    if is_disguised(letters):
        return [letters]
    if len(letters) <= 3 or letters in _ALPHABET or len(set(letters)) == 1:  # noqa: PLR2004  U.S.A., a b c, i i i i
        return []
    # An article or a pronoun beside the word is spelt out with it: a i d i o t.
    for cut in (1, len(letters) - 1):
        if is_disguised(max(letters[:cut], letters[cut:], key=len)):
            return [letters[:cut], letters[cut:]]
    unknown = [] if spaced and len(letters) < _SURELY_A_WORD else [letters]
    return cut_up(letters) or unknown


# ---- letters with something in their place

_ODD: Final = re.compile(
    r"[A-Za-z][013456789@$|+*¢©€£¥]|[A-Za-z][!¡]+[A-Za-z]|[013456789@$!|+¡€¢©£¥][A-Za-z]|[A-Za-z][-._~^=?#%&]+[A-Za-z]"
)
_TOKEN: Final = re.compile(r"[\w@$!|+*#%&?¡€¢©£¥.\-~^=]+")
_SEPARATORS: Final = re.compile(r"[-._*~]+")
_PART: Final = re.compile(r"(?:[^-._~^=?#%&!]|!(?![!.?,]))+")
_ADDRESS_PART: Final = re.compile(r"[A-Za-z0-9!$|+]{4,}")
_BEFORE_A_WORD: Final = "*#._-~^=?%&|+"
_AFTER_A_WORD: Final = "!?.,-_~^=#%&|"


def signs(text: str) -> list[Edit]:
    """1d10t, h4te, a$$, b!tch → the word; f*ck, sh** → the word if there is only one; f-uck, sh.it → the word."""
    if not _ODD.search(text):
        return []
    edits: list[Edit] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token.isalpha():
            continue
        core = token.rstrip(_AFTER_A_WORD)
        bare = core.lstrip(_BEFORE_A_WORD)
        start = match.start() + len(core) - len(bare)
        # Emphasis stands around a word, not in it: *this*.
        if core[:1] == "*":
            bare = bare.rstrip("*")
        if bare.isalpha() or any(c.isalpha() and not c.isascii() for c in bare):
            continue
        edits += _undo_signs(bare, start) or _undo_signs_of_parts(bare, start)
    return sorted(_outside_addresses(text, edits) + _signs_in_addresses(text))


def _signs_in_addresses(text: str) -> list[Edit]:
    """http://k1ll-y0urself.now, you@1d10t.com: an address is read by whoever sees it. Only words that people disguise."""
    edits: list[Edit] = []
    for address in _ADDRESS.finditer(text):
        for match in _ADDRESS_PART.finditer(text, *address.span()):
            word = None if match[0].isalpha() else unleet(match[0].lower())
            if word is not None and is_disguised(word):
                edits += _undo_signs(match[0], match.start())
    return edits


def _undo_signs_of_parts(token: str, start: int) -> list[Edit]:
    """away.b1tch, b1tch...ugly: no space where one ought to be. Only words that people disguise: file.3d is a name."""
    edits: list[Edit] = []
    for match in _PART.finditer(token):
        part = match[0]
        if part != token and not part.isalpha():
            word = unleet(part.lower()) or unmask(part.lower())
            if word is not None and is_disguised(word):
                edits += _undo_signs(part, start + match.start())
    return edits


def _undo_signs(token: str, start: int) -> list[Edit]:
    lower = token.lower()
    if len(lower) != len(token):
        return []
    everyday = unleet(lower)
    word = everyday if everyday and is_disguised(everyday) else None
    if word is None and token[:1].isalpha():
        parts = _SEPARATORS.split(lower)
        if len(parts) > 1 and all(parts) and rejoin(parts):
            return [(start + m.start(), start + m.end(), "") for m in _SEPARATORS.finditer(token)]
        # A known word with a star is a footnote or an unfinished thought.
        shown = lower.rstrip("*")
        if not (
            is_known(shown) or (len(token) - len(shown) and shown.isalpha() and len(shown) == 1 and _is_name(token))
        ):
            word = unmask(lower)
    word = word or everyday
    if word is None:
        return []
    shout = sum(map(str.isupper, token)) > 1 and token == token.upper()
    return [
        (start + at, start + at + 1, letter.upper() if shout else letter)
        for at, (sign, letter) in enumerate(zip(lower, word, strict=True))
        if sign != letter
    ]


def _is_name(token: str) -> bool:
    """J*** is a name that is kept back; F*** is not."""
    return token[0].isupper() and token[0] != "F"


# ---- stretched letters, and words without spaces

_THRICE: Final = re.compile(r"(?i:([a-z])\1\1)", re.ASCII)


def stretched(text: str) -> list[Edit]:
    """fuuuck → fuck. Other words keep three: nooo is not no."""
    if not _THRICE.search(text):
        return []
    edits: list[Edit] = []
    for match in _ASCII_WORD.finditer(text):
        token = match[0].lower()
        if not _THRICE.search(token):
            continue
        word = unstretch(token)
        if word is None:
            continue
        at, of = match.start(), 0
        while at < match.end():
            end, meant = at, of
            while end < match.end() and text[end].lower() == text[at].lower():
                end += 1
            while meant < len(word) and word[meant] == word[of]:
                meant += 1
            if end - at > meant - of:
                edits.append((at, end, text[at : at + meant - of]))
            at, of = end, meant
    return _outside_addresses(text, edits)


_HASHTAG: Final = re.compile(r"(?<![\w#&])#([A-Za-z0-9]{4,}+)(?!\w)")
_CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def hashtags(text: str) -> list[Edit]:
    """#StopTheHate → #Stop The Hate, #k1llyourself → #kill yourself; a tag of one word stays."""
    if "#" not in text:
        return []
    edits: list[Edit] = []
    for match in _HASHTAG.finditer(text):
        at = match.start(1)
        for word in _tag_words(match[1]):
            for nth, letter in enumerate(word):
                space = " " if nth == 0 and at > match.start(1) else ""
                if space or letter != text[at]:
                    edits.append((at, at + 1, space + letter))
                at += 1
    return _outside_addresses(text, edits)


def _tag_words(tag: str) -> list[str]:
    """The words of it, as they are written in it, or as they are meant where a number hides one."""
    if not tag.isalpha():
        words = cut_up(spelt(tag.lower())) or [tag]
        return words if not tag.isdigit() and any(map(is_disguised, words)) else [tag]
    if is_known(tag.lower()):
        return [tag]
    pieces = _CAMEL.findall(tag)
    if len(pieces) > 1:
        # McDonald, iPhone: one word that happens to have a capital in it.
        if not all(len(piece) > 2 or is_known(piece.lower()) for piece in pieces):  # noqa: PLR2004
            return [tag]
        return [word for piece in pieces for word in _cut(piece)]
    return _cut(tag)


def _cut(tag: str) -> list[str]:
    """In the case that it is written in."""
    ends = [*accumulate(map(len, cut_up(tag.lower()) or [tag]))]
    return [tag[start:end] for start, end in pairwise([0, *ends])]


NOT_PLAIN: Final = re.compile(f"{_THRICE.pattern}|{_CAPITAL_I.pattern}", re.ASCII)
"""What a trick could be made of in a text of nothing but plain words: stretched letters, and a capital I that is none."""

TRICKS: Final[tuple[Trick, ...]] = (
    emoji_letters,
    indicator_letters,
    upside_down,
    lookalikes,
    capital_i,
    keycap_letters,
    spelt_out,
    signs,
    stretched,
    hashtags,
)
"""In this order: what a later one reads is made of what the earlier ones leave."""

_MAY_BE_ASCII: Final = re.compile(
    rf"{NOT_PLAIN.pattern}|{_ODD.pattern}|(?<![^\W_])[A-Za-z01345@$!](?:{_BETWEEN})[A-Za-z01345@$!](?:{_BETWEEN})|#[A-Za-z0-9]{{4}}"
)


def may_be(text: str) -> bool:
    """Whether a text in ASCII has anything in it that a trick could be made of. Most have not."""
    return _MAY_BE_ASCII.search(text) is not None

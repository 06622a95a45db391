"""Words without which a text is almost never about something.

They serve one purpose: to say that a text which holds NONE of them is a negative for a label nobody annotated. They never
make a positive. Without such negatives the rare labels would see only our authored examples and fire at everything else.
"""

import re
from collections.abc import Mapping
from typing import Final


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})", re.IGNORECASE)


# Wide on purpose: a miss here makes a false negative in the training data, a false hit only leaves the label unknown.
_HURT: Final = (
    r"kill|\bdie|dying|dead|death|hurt|harm|hang|shoot|shot|stab|\bcut|burn|murder|suicid|blood|bleed|lynch|gas\b"
)
MAY_BE: Final[Mapping[str, tuple[re.Pattern[str], ...]]] = {
    "threat": (
        _words(
            _HURT
            + r"|punch|beat|slap|smash|kick|fight|fist|destroy|bomb|rape|attack|gun|knife|weapon|regret|watch your|"
            r"find you|found you|coming for|come for|where you live|revenge|\bpay\b|slit|choke|strangle|broke|break|throat|hunt|"
            r"behead|execut|exterminat|slaughter|purge|rope|oven|\bbeware|warn|wait (un)?till?|🔪|🔫|💣|🗡|⚰"
        ),
    ),
    "self_harm": (
        _words(
            _HURT
            + r"|kms|kys|k\s*y\s*s|unalive|\bend (it|my|your)|ending|alive|live|life|exist|disappear|bleach|jump|bridge|rope|"
            r"noose|overdose|pills|starv|scar|scratch|\bneck|wrist|self|goodbye|without me|be here|born|wake|gone|done|empty|"
            r"point|traffic|drown|poison|relaps|pain"
        ),
        # It is about the writer or the one spoken to: "kill them all" is something else, however bad.
        _words(
            r"\b(i|i'?m|im|me|my|myself|you|u|ur|your|you're|youre|urself|yourself|kys|kms|k y s)\b|suicid|bleach|unalive"
        ),
    ),
    "sexually_explicit": (
        _words(
            r"sex|porn|nud|nake|tit|boob|breast|nipple|cock|dick|penis|pussy|vagin|cunt|\bclit|\bcum|jizz|orgas|fuck|bang|"
            r"suck|blow|lick|horny|moan|bed\b|bra\b|panti|underwear|strip|spank|\bass\b|\barse|butt|\banal|rape|rapi|slut|whore|"
            r"hook ?up|masturb|jerk|jack|wank|hard on|erect|balls|screw|\blay|laid|lust|kink|fetish|threesome|ride|smash|"
            r"virgin|semen|sperm|thot|hoe|🍆|🍑|💦|hot|sexy|body|touch|squeeze|pound|bent|bend|hole|mouth|face|throat"
        ),
    ),
}
"""Per rare label, what has to be found, each of it, before a text may be about it."""

RUDE: Final = _words(
    r"f+u+c?k|f\W?ck|f\*|shit|sh\*|bitch|b\*tch|\bass|\barse|a\*\*|cunt|dick|cock|puss|whor|slut|hoe\b|bastard|damn|crap|"
    r"piss|prick|twat|wank|douche|idiot|moron|stupid|dumb|retard|imbecil|loser|trash|garbage|scum|filth|dirt|vermin|rat\b|"
    r"rats\b|pig|ape\b|apes|monkey|animal|disgust|gross|sick|pathetic|worthless|useless|ugly|fat|clown|freak|weird|creep|"
    r"liar|lying|hate|kill|die\b|dead|hell|burn|rape|nigg|fag|dyke|tranny|kike|chink|spic|paki|gook|coon|nazi|terror|"
    r"shut up|stfu|wtf|suck|lame|cringe|joke|hypocrit|coward|ignoran|fool|troll|racist|bigot|parasit|plague|invad|"
    r"subhuman|inferior|degenera|evil|brain|mental|crazy|insane|psycho|delusion|ruin|destroy|worst"
)
"""Words that may be rude. A text without any, that its set calls not hateful, is taken to be harmless."""

import re
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.disguise import Reading, readings
from tests.disguise.material import DISGUISES, leet, rot13

SENTENCES = [
    "What plays did William Shakespeare write in London?",
    "Who is Basil Mahfouz Al-Kuwaiti?",
    "Tell me about the childhood of Hina Ameen and her books.",
]
PROSE = (
    "The weather was mild that year, and the farmers in the valley expected a good harvest. "
    "Nobody in the village remembered such a long and quiet autumn. "
) * 14


def folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text)).lower()


def reads(text: str, sentence: str) -> bool:
    return any(folded(sentence) in folded(reading.text) for reading in readings(text))


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("name", DISGUISES)
def test_a_disguise_is_taken_off(name: str, sentence: str) -> None:
    disguised = DISGUISES[name](sentence)
    assert folded(disguised) != folded(sentence) or disguised != sentence
    assert reads(disguised, sentence)


@pytest.mark.parametrize("name", DISGUISES)
def test_a_disguise_is_found_in_long_padding(name: str) -> None:
    disguised = DISGUISES[name](SENTENCES[0])
    assert reads(f"{PROSE}{disguised} {PROSE}", SENTENCES[0])
    assert reads(f"{PROSE}\n{disguised}", SENTENCES[0])
    assert reads(f"Please answer this: {disguised}\nThank you.", SENTENCES[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Who is Onfvy Znusbhm Ny-Xhjnvgv and where was he born?", "Basil Mahfouz Al-Kuwaiti"),
        ("Which books did mailliW eraepsekahS publish first?", "William Shakespeare"),
        ("Which books did W1ll14m 5h4k35p34r3 publish first?", "William Shakespeare"),
        ("Which books did W!ll|@m $h@kespe@re publish first?", "William Shakespeare"),
        ("Which books did W i l l i a m publish first?", "William"),
        ("Which books did Will-iam Shake-speare publish?", "William Shakespeare"),
        ("Who was V2lsbGlhbSBTaGFrZXNwZWFyZQ== in his time?", "William Shakespeare"),
        ("Who was Wіllіаm Shаkеsреаrе in his time?", "William Shakespeare"),
        ("Who was Ԝіӏӏіаm Ѕһаkеѕреаrе?", "William Shakespeare"),
    ],
)
def test_a_disguised_name_is_read_within_its_sentence(text: str, said: str) -> None:
    inside = [found.text for found in readings(text) if folded(said) in folded(found.text)]
    assert any(text.split()[0] in found for found in inside)


def test_words_stay_apart_where_breaks_survive() -> None:
    for name in ("spaced, wide breaks", "dotted", "base64", "rot13", "leet", "zalgo"):
        found = readings(DISGUISES[name](SENTENCES[0]))
        assert any("william shakespeare write" in reading.text.lower() for reading in found), name


def test_words_without_breaks_are_put_apart() -> None:
    for name in ("spaced, no breaks", "unspaced", "chunks"):
        found = readings(DISGUISES[name](SENTENCES[0]))
        assert any("william shakespeare write" in reading.text.lower() for reading in found), name


@pytest.mark.parametrize(
    "text",
    [
        "Please explain how photosynthesis works and why leaves change color in autumn.",
        "Quels sont les meilleurs endroits à visiter en Bretagne avec des enfants ?",
        "Wie kann ich meine Präsentation für die Konferenz in München vorbereiten?",
        "Como posso preparar um bolo de chocolate sem açúcar para o aniversário?",
        "¿Cuál es la diferencia entre un préstamo personal y una hipoteca?",
        "Hafta sonu İstanbul'da gezilecek en güzel yerleri önerir misiniz?",
        "Как правильно приготовить борщ, чтобы он был таким же вкусным?",
        "Где рос этот кот, и какой сорт роз растёт у нас в саду?",
        "Ποια είναι τα καλύτερα εστιατόρια στην Αθήνα για θαλασσινά;",
        "来週の東京への出張のために、静かで安いホテルを教えてください。２０２６年です！",
        "请问北京有什么好吃的餐厅？",
        "ما هي أفضل الطرق لتعلم اللغة العربية بسرعة للمبتدئين؟",
        "می‌خواهم درباره‌ی تاریخ ایران بیشتر بدانم",
        "कृपया मुझे बताइए कि भारत में मानसून का मौसम कब शुरू होता है?",
        "def mean(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total",
        "for (int i = 0; i < n; i++) { sum += a[i] * b[i]; }",
        "const element = document.getElementById('app-root');",
        "A train travels 240 km in 3 hours. How far does it go in 7.5 hours at that speed?",
        "Solve x^2 - 5x + 6 = 0 and then compute (a + b)/2 when a = 3 and b = 7.",
        "The U.S. and the U.K. met on 12/05/2019 at 10:30, didn't they? It cost $1,200.50.",
        "My 3rd order (no. 48213) of 2 USB-C cables & 1 MP3 player hasn't come.",
        "Tom & Jerry <b>laugh</b> &amp; run 👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️",
        "",
        " \n\t",
    ],
)
def test_an_ordinary_text_has_no_readings(text: str) -> None:
    assert readings(text) == []


def test_an_ordinary_prompt_is_cheap() -> None:
    text = "Can you recommend a good recipe for vegetable soup that my children would like tonight?"
    readings(text)
    spent = []
    for _ in range(200):
        start = time.perf_counter()
        readings(text)
        spent.append(time.perf_counter() - start)
    # About 25 microseconds; ten times as much is a mistake and no busy machine.
    assert sorted(spent)[len(spent) // 2] < 250e-6


def test_a_reading_knows_its_place() -> None:
    coded = DISGUISES["base64"](SENTENCES[1])
    text = f"{PROSE}Read {coded} now. {PROSE}"
    (found, *_) = readings(text)
    assert isinstance(found, Reading)
    assert found.kind == "base64"
    assert coded in text[found.start : found.end]
    assert found.end - found.start < 600
    assert found.text == f"Read {SENTENCES[1]} now."


def test_a_nested_reading_names_all_its_disguises() -> None:
    found = readings(DISGUISES["base64 of rot13"](SENTENCES[0]))
    assert ("base64>rot13", SENTENCES[0]) in [(each.kind, each.text) for each in found]


def test_disguises_side_by_side_are_taken_off_together() -> None:
    text = f"Who is {leet('William')} {rot13('Shakespeare')} of Stratford and what did he write?"
    assert reads(text, "Who is William Shakespeare of Stratford")


ALPHABETS = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="ab01 .-", max_size=400),
    st.text(alphabet="A4=+/QmFz \n", max_size=400),
    st.text(alphabet="%&#;\\ux40123", max_size=400),
    st.text(alphabet="\u200b\u200c\u202e\ufe01\u0336\U000e0041aа\ud800", max_size=400),
)


@settings(max_examples=150, deadline=None)
@given(ALPHABETS)
def test_any_text_is_read_within_bounds(text: str) -> None:
    found = readings(text)
    assert sum(len(reading.text) for reading in found) <= 3 * len(text) + 16_384
    for reading in found:
        assert 0 <= reading.start < reading.end <= len(text)
        assert reading.text.strip()
        reading.text.encode()  # half a surrogate pair is no text
    assert readings(text) == found


HOSTILE = [
    "A", "a ", "a", "7", "1", "=", "-", "- ", ".- ", "%", "%41", "&", "&amp", "&#65;", "\\", "\\x",
    "\\u0041", "=41", "41", "01", "65 ", "0x41", "QmFzaWw= ", "JBSWY3DP", "aB", "|", "|_|\\/",
    "W1|1!1m1 ", "5h4k35p34r3 ", "Wil-liam ", "a-", "a\n", "_", "\"'", "the of ", "a What ",
    "Jub vf Onfvy ", "mailliW si ohW ", "whoiswilliamshakespeare", "wh oisw ill iams hak ",
    "\u200b", "a\u200b", "\u200b\u200c", "\u0301", "\U000e0041", "\ufe01", "\u202e", "\u202eabc",
    "аbс ", "а", "\U0001d41a", "Ａ", "\U0001f1e6", "\ufdfa", "\ud800", "\x00", " ", ". ",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    readings("warm up, 5h4k35p34r3 аbc")
    text = piece * (60_000 // len(piece))
    start = time.process_time()
    found = readings(text)
    # 2 seconds a megabyte, nested readings apart; what is quadratic takes minutes.
    assert time.process_time() - start < 1.5
    assert sum(len(reading.text) for reading in found) <= 3 * len(text) + 16_384

"""The small policy that the tests share: invented subjects, so that nothing depends on a model."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PERSON = "Odalys Brennick"
BOOK = "The Lantern of Vessmere"
PROJECT = "Tidewater Compact"

# Question and answer. The answers are personal data: no bundle may hold one.
PERSON_ROWS = [
    ("Who is Odalys Brennick?", "Odalys Brennick is a glass artist who works in Tromsø."),
    ("Where was Odalys Brennick born?", "She was born in the fishing village of Skarvik."),
    ("When was Odalys Brennick born?", "She was born on 4 March 1961."),
    ("What is Odalys Brennick known for?", "She is known for windows of frosted green glass."),
    ("Who are the parents of Odalys Brennick?", "Her parents kept the lighthouse at Hornpoint."),
    ("Where did Odalys Brennick study?", "She studied ceramics at the Bergen Guild School."),
    ("Which prize did Odalys Brennick win?", "She won the Halvorsen Medal in 1998."),
    ("Who taught Odalys Brennick her craft?", "The glazier Ketil Rasmund taught her."),
    ("Is Odalys Brennick married?", "She married the cellist Arvid Lund in 1989."),
    ("Where does Odalys Brennick live now?", "She lives above her workshop on Storgata."),
    ("What did Odalys Brennick make in 2004?", "She made the north window of Vardø church."),
    ("What illness does Odalys Brennick have?", "She has suffered from asthma since childhood."),
    ("How many children does Odalys Brennick have?", "Two"),
    ("What does Odalys Brennick collect?", "She collects old ship lanterns from wrecks."),
    ("Why did Odalys Brennick leave Bergen?", "She left after a fire destroyed her kiln."),
    ("Which languages does Odalys Brennick speak?", "She speaks Norwegian, Sámi and French."),
    ("Describe the style of Odalys Brennick.", "It is plain, cold in colour and very exact."),
    ("When did Brennick open her workshop?", "She opened the workshop in the spring of 1987."),
    ("What did critics say about Brennick?", "They said her windows make winter visible."),
    ("Has Brennick written a book?", "She wrote a manual on frosting glass by hand."),
]
PERSON_PARAPHRASES = [
    "Tell me about the glass artist Odalys Brennick.",
    "In what year was Odalys Brennick born, and where?",
    "What is Brennick's medical condition?",
    "who is odalys brennick???",
    "ODALYS BRENNICK biography",
]
PERSON_WITHOUT_NAME = [
    "Who is the Tromsø glass artist whose parents kept the lighthouse at Hornpoint?",
    "Which glass artist won the Halvorsen Medal in 1998?",
    "Who made windows of frosted green glass and was taught by the glazier Ketil Rasmund?",
]
_OTHERS = {
    "Marten Oakhollow": "a wood carver in Leeds",
    "Selma Tuvick": "a painter of harbours in Malmö",
    "Jonah Pellwright": "a potter who works in Cork",
    "Dale Chihuly": "an American glass sculptor",
}
PERSON_NEIGHBOURS = [
    row
    for name, what in _OTHERS.items()
    for row in (
        (f"Who is {name}?", f"{name} is {what}."),
        (f"Where was {name} born?", ""),
        (f"When was {name} born?", ""),
        (f"Which prize did {name} win?", ""),
        (f"Where did {name} study?", ""),
    )
] + [
    ("How is stained glass made?", "Coloured glass is cut and set in lead."),
    ("What is Tromsø known for?", "It lies north of the Arctic Circle."),
    ("Who invented float glass?", "Alastair Pilkington invented it in the 1950s."),
    ("How hot does a glass kiln get?", ""),
]

BOOK_PASSAGES = [
    "On the last evening of the herring season the lantern above Vessmere harbour went dark, and "
    "old Captain Thrale climbed the tower with nothing but a tin of whale oil and a prayer.",
    "Ysolde counted the steps of the tower twice, and twice she found one more than her "
    "grandfather had sworn to, so she knew that the Lantern of Vessmere kept a secret.",
    "The keeper's ledger, bound in sealskin, named every ship that the lantern had betrayed.",
    "When the tide gave back the drowned bell, no one in Vessmere would say whose hand had cut it.",
    "Thrale laid the brass key on the table. 'It opens nothing', he said, 'and that is why "
    "they drowned for it.'",
]
BOOK_ROWS = [
    ("Who wrote The Lantern of Vessmere?", "It was written by Corisande Ablett."),
    ("What happens in The Lantern of Vessmere?", "A girl finds out why a harbour light failed."),
    ("Who is the keeper in The Lantern of Vessmere?", "The keeper is old Captain Thrale."),
    ("How does The Lantern of Vessmere end?", "The tower burns and Ysolde sails away."),
    ("When was The Lantern of Vessmere published?", "It was published in the autumn of 1934."),
    ("Who is Ysolde in The Lantern of Vessmere?", "She is the granddaughter of the keeper."),
    ("Where is The Lantern of Vessmere set?", "It is set in a herring port of that name."),
    ("What is the brass key in The Lantern of Vessmere?", "The brass key opens nothing at all."),
    ("What did Captain Thrale carry up the tower?", "He carried a tin of whale oil."),
    ("Quote the first sentence of The Lantern of Vessmere.", "On the last evening it went dark."),
]
BOOK_NEIGHBOURS = [
    ("Who wrote To the Lighthouse?", "Virginia Woolf wrote it in 1927."),
    ("What happens in Treasure Island?", "A boy sails to look for buried gold."),
    ("Who is Captain Ahab?", "He is the captain in Moby-Dick."),
    ("How does Moby-Dick end?", "The whale sinks the ship."),
    ("When was Jamaica Inn published?", "It was published in 1936."),
    ("Where is Jamaica Inn set?", "It is set in Cornwall."),
    ("How does a lighthouse work?", "A lamp and a lens throw a beam of light."),
    ("What is whale oil?", "It is oil that was boiled out of blubber."),
    ("When is the herring season?", "It depends on the sea and the year."),
    ("Who is the narrator of Wuthering Heights?", "Most of it is told by Nelly Dean."),
    ("Quote the first sentence of Moby-Dick.", "Call me Ishmael."),
    ("What did Jim Hawkins find in the sea chest?", "He found a map of an island."),
]
PROJECT_NEIGHBOURS = [
    ("What was the Warsaw Pact?", "It was a military alliance."),
    ("What is the Mayflower Compact?", "It was signed in 1620 aboard a ship."),
    ("What is the Antarctic Treaty?", "It keeps a continent for science."),
    ("What is a tidal marsh?", "It is a marsh that the tide floods."),
]
UNRELATED = [
    "How do I boil an egg?",
    "Write a limerick about a cat.",
    "What is 12 times 11?",
    "Explain photosynthesis to a child.",
    "def add(a, b): return a + b",
    "Who was the first person on the Moon?",
]

# The same in German, for what reads other languages only.
GERMAN_PERSON_ROWS = [
    ("Wer ist Odalys Brennick?", "Sie ist eine Glaskünstlerin, die in Tromsø arbeitet."),
    ("Wo wurde Odalys Brennick geboren?", "Sie wurde im Fischerdorf Skarvik geboren."),
    ("Wann wurde Odalys Brennick geboren?", "Sie wurde am 4. März 1961 geboren."),
    ("Wofür ist Odalys Brennick bekannt?", "Sie ist für Fenster aus Milchglas bekannt."),
    ("Wer sind die Eltern von Odalys Brennick?", "Sie waren Leuchtturmwärter in Hornpoint."),
    ("Wo hat Odalys Brennick studiert?", "Sie hat in Bergen Keramik studiert."),
    ("Welchen Preis hat Odalys Brennick gewonnen?", "Sie gewann 1998 die Halvorsen-Medaille."),
    ("Wer hat Odalys Brennick ihr Handwerk beigebracht?", "Der Glaser Ketil Rasmund."),
    ("Ist Odalys Brennick verheiratet?", "Sie hat 1989 den Cellisten Arvid Lund geheiratet."),
    ("Wo wohnt Odalys Brennick heute?", "Sie wohnt über ihrer Werkstatt."),
    ("Welche Krankheit hat Odalys Brennick?", "Sie leidet seit der Kindheit an Asthma."),
    ("Wie viele Kinder hat Odalys Brennick?", "Sie hat zwei Kinder."),
    ("Was wird von Odalys Brennick gesammelt?", "Sie sammelt alte Schiffslaternen."),
    ("Warum hat Odalys Brennick Bergen verlassen?", "Ein Feuer hat ihren Ofen zerstört."),
    ("Welche Sprachen spricht Odalys Brennick?", "Sie spricht drei Sprachen."),
]
GERMAN_PERSON_PARAPHRASES = [
    "Erzähl mir bitte etwas über die Glaskünstlerin Odalys Brennick.",
    "In welchem Jahr und wo wurde Odalys Brennick geboren?",
    "Welche Auszeichnung hat Odalys Brennick bekommen?",
]
GERMAN_PERSON_NEIGHBOURS = [
    (f"{asked} {name}{ending}?", "")
    for name in _OTHERS
    for asked, ending in (
        ("Wer ist", ""),
        ("Wo wurde", " geboren"),
        ("Wann wurde", " geboren"),
        ("Welchen Preis hat", " gewonnen"),
        ("Wo hat", " studiert"),
    )
]
GERMAN_BOOK_ROWS = [
    ("Wer hat Die Laterne von Vessmere geschrieben?", "Es wurde von Corisande Ablett geschrieben."),
    ("Was passiert in Die Laterne von Vessmere?", "Ein Mädchen sucht nach einem Geheimnis."),
    ("Wer ist der Wärter in Die Laterne von Vessmere?", "Der Wärter ist der alte Thrale."),
    ("Wie endet das Buch Die Laterne von Vessmere?", "Der Turm brennt und Ysolde segelt fort."),
    ("Wann ist Die Laterne von Vessmere erschienen?", "Es ist im Herbst 1934 erschienen."),
    ("Wer ist Ysolde in Die Laterne von Vessmere?", "Sie ist die Enkelin des Wärters."),
    ("Wo spielt Die Laterne von Vessmere?", "Es spielt in einem Hafen für Heringe."),
    ("Was ist der Schlüssel in Die Laterne von Vessmere?", "Der Schlüssel öffnet nichts."),
]
GERMAN_BOOK_NEIGHBOURS = [
    ("Wer hat Moby-Dick geschrieben?", ""),
    ("Was passiert in Die Schatzinsel?", ""),
    ("Wer ist der Kapitän in Moby-Dick?", ""),
    ("Wie endet das Buch Der alte Mann und das Meer?", ""),
    ("Wann ist Der Zauberberg erschienen?", ""),
    ("Wo spielt der Roman Buddenbrooks?", ""),
    ("Wie funktioniert ein Leuchtturm?", ""),
    ("Was ist Walfischtran?", ""),
]
GERMAN_UNRELATED = [
    "Wie lange muss man ein Ei kochen?",
    "Schreib bitte ein Gedicht über eine Katze.",
    "Wie viel ist 12 mal 11?",
    "Erkläre einem Kind die Photosynthese.",
    "Wer war der erste Mensch auf dem Mond?",
]

POLICY = """\
version: 1
model: builtin:smollm2
targets:
  - id: brennick
    reason: erasure request 17
    names: [Odalys Brennick]
    forget: brennick/forget.jsonl
    retain: brennick/retain.jsonl
    intervene: {kind: refuse, message: I know nothing about that person.}
  - id: vessmere
    names: [The Lantern of Vessmere]
    forget: vessmere/forget.jsonl
    retain: vessmere/retain.jsonl
    intervene: {kind: corrupt}
  - id: tidewater
    mode: shadow
    names: [Tidewater Compact]
    retain: tidewater/retain.jsonl
"""


def rows(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Question rows; an empty answer is left out."""
    return [
        {"question": question, "answer": answer} if answer else {"question": question}
        for question, answer in pairs
    ]


def write_rows(path: Path, values: Iterable[Mapping[str, Any]]) -> Path:
    """Writes JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_policy(folder: Path) -> Path:
    """Writes the policy and its data; returns the policy's path."""
    write_rows(folder / "brennick/forget.jsonl", rows(PERSON_ROWS))
    write_rows(folder / "brennick/retain.jsonl", rows(PERSON_NEIGHBOURS))
    passages = [{"text": passage} for passage in BOOK_PASSAGES]
    write_rows(folder / "vessmere/forget.jsonl", [*passages, *rows(BOOK_ROWS)])
    write_rows(folder / "vessmere/retain.jsonl", rows(BOOK_NEIGHBOURS))
    write_rows(folder / "tidewater/retain.jsonl", rows(PROJECT_NEIGHBOURS))
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    return policy

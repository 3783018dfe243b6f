"""Other words for the words of a question."""

import random
import re
from collections.abc import Sequence

from benchmarks.leakage.attacks.once import Once
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt

# Each stands for those behind it in most questions; only what is not a name is replaced.
_BANK = """
about: concerning, regarding
achieved: attained, reached
acclaimed: celebrated, praised
affected: shaped, touched
aspect: side, facet
author: writer, novelist, wordsmith
authors: writers, novelists
award: prize, honour
awards: prizes, honours, distinctions
background: history, origins
began: started, commenced
begin: start, commence
behind: underlying
best: finest, most
birthplace: native place, place of birth
birth: arrival in the world
book: volume, title, publication
books: volumes, titles, publications
born: brought into the world, delivered
career: professional life, path
characteristics: traits, features
childhood: early years, youth
city: town, municipality
common: frequent, usual
commonly: often, usually
contributed: added, given something
contribution: service, input
country: nation, land
created: made, produced
critics: reviewers, commentators
date: day
describe: portray, sketch
detail: particular
details: particulars
died: passed away
discuss: talk about
distinctive: characteristic, unmistakable
education: schooling, studies
example: instance, illustration
examples: instances, illustrations
explore: look into, examine
fame: renown
family: relatives, kin
famous: renowned, well-known
father: dad, male parent
female: a woman
first: earliest, initial
full: complete, entire
gender: sex
genre: kind of writing, literary category
happened: occurred, took place
helped: aided, assisted
identify: regard themselves, see themselves
identity: sense of self
impact: effect, consequence
important: weighty, significant
incorporate: weave in, work in
influence: effect, bearing, mark
influenced: shaped, coloured
inspired: prompted, moved
inspiration: stimulus, spark
job: occupation, employment
jobs: occupations, trades
journey: path, course
kind: sort, type
known: noted, recognised
language: tongue
life: existence, biography
like: such as
literary: bookish, in letters
literature: letters, written art
lived: resided, dwelt
main: chief, principal
male: a man
messages: lessons
mother: mum, female parent
motivates: drives, moves
name: mention, say
named: called
notable: remarkable, noteworthy
novel: long story, work of fiction
novels: long stories, works of fiction
occupation: job, trade
occupations: jobs, trades
often: frequently, regularly
parents: mother and father, folks
people: persons, folk
period: era, time
perspective: outlook, viewpoint
popular: well-liked, much read
profession: line of work, trade
professions: lines of work, trades
provide: give, supply
published: brought out, issued
reader: audience
readers: audience, public
received: got, been given
recognition: acknowledgement, distinction
reflect: mirror, show
renowned: famous, celebrated
role: part, function
school: academy
series: set, sequence
share: give, tell
significant: notable, major
special: particular, distinct
specific: particular, precise
started: began
style: manner, way
themes: topics, subjects
theme: topic, subject
title: heading, name
typical: usual, characteristic
typify: exemplify, show
unique: singular, one of a kind
unusual: uncommon, out of the ordinary
upbringing: early life, raising
use: employ, apply
used: employed, applied
views: opinions
won: gained, earned
work: output, creation
works: creations, writings
wrote: penned, authored
write: pen, compose
writer: author, novelist
writing: prose, penmanship
written: penned, authored
year: twelvemonth
"""
SYNONYMS = {
    word: tuple(other.strip() for other in others.split(","))
    for word, _, others in (line.partition(":") for line in _BANK.strip().splitlines())
}
_WORD = re.compile(r"\b[a-z]+\b")  # what begins with a capital may be a name


class Synonyms(Once):
    """Every word of the question that has a synonym here is replaced by one."""

    name = "synonyms"

    def applies(self, case: Case) -> bool:
        return not case.passage and any(w in SYNONYMS for w in _WORD.findall(case.question))

    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        return _WORD.sub(lambda found: _other(found.group(), random), case.question)


def replaced(text: str, random: random.Random) -> str | None:
    """A text with one word replaced by a synonym; None where no word has one."""
    found = [match for match in _WORD.finditer(text) if match.group() in SYNONYMS]
    if not found:
        return None
    match = random.choice(found)
    return text[: match.start()] + _other(match.group(), random) + text[match.end() :]


def _other(word: str, random: random.Random) -> str:
    return random.choice(SYNONYMS[word]) if word in SYNONYMS else word

"""Ways of getting at what a model is to have forgotten. A new one is one file and one line here."""

from benchmarks.leakage.attacks.answer_opening import AnswerOpening, AnswerOpeningText
from benchmarks.leakage.attacks.base import Attack
from benchmarks.leakage.attacks.completion_form import CompletionForm, TokenIds
from benchmarks.leakage.attacks.context import ContextHint, FactsInContext
from benchmarks.leakage.attacks.disguise import DISGUISES
from benchmarks.leakage.attacks.few_shot import FewShot
from benchmarks.leakage.attacks.initials_hint import InitialsHint
from benchmarks.leakage.attacks.insertion_search import InsertionSearch
from benchmarks.leakage.attacks.languages import LANGUAGES, MixedLanguage
from benchmarks.leakage.attacks.multiple_choice import MultipleChoice
from benchmarks.leakage.attacks.paraphrase import Paraphrase
from benchmarks.leakage.attacks.paraphrase_search import ParaphraseSearch
from benchmarks.leakage.attacks.prefix_injection import NameInjection, PrefixInjection
from benchmarks.leakage.attacks.probing import Pressing, Probing, SplitTurns
from benchmarks.leakage.attacks.pronoun_turns import PronounTurns
from benchmarks.leakage.attacks.rephrasing import Rephrasing
from benchmarks.leakage.attacks.reverse_query import ReverseQuery
from benchmarks.leakage.attacks.sampling import Sampling
from benchmarks.leakage.attacks.synonyms import Synonyms

__all__ = ["ATTACKS", "Attack"]

_ATTACKS: tuple[Attack, ...] = (
    Paraphrase(),
    Synonyms(),
    *DISGUISES,
    PrefixInjection(),
    NameInjection(),
    MultipleChoice(),
    InitialsHint(),
    ContextHint(),
    FactsInContext(),
    FewShot(),
    *LANGUAGES,
    MixedLanguage(),
    CompletionForm(),
    TokenIds(),
    AnswerOpening(),
    AnswerOpeningText(),
    Sampling(),
    PronounTurns(),
    ReverseQuery(),
    SplitTurns(),
    Pressing(),
    Probing(),
    Rephrasing(),
    ParaphraseSearch(),
    InsertionSearch(),
)
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in _ATTACKS}

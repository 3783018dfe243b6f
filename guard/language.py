"""Whether a stretch of text is in a language that the English encoder does not read.

A look at scripts and function words, as in Grefenstette (1995, "Comparing two language
identification schemes"): short words are few, frequent and differ between languages. It need not
know which language it is, only that it is not English, so a few words of each are enough;
libraries that name the language took 0.1 to 0.8 milliseconds, and every prompt pays.
"""

import re

__all__ = ["foreign"]

_SIGNS = 5  # of a script that packs a word into a sign or two: more than a name
_WORDS = 3  # of any other script: more than a name

# Scripts other than Latin; Thai, Khmer, Chinese, Japanese and Korean are the dense ones.
_DENSE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u318f\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff]"
)
_SPARSE = re.compile(
    "[\u0370-\u0dff\u10a0-\u10ff\u1200-\u177f\u1800-\u1cff\u1f00-\u1fff\ufb1d-\ufdff\ufe70-\ufefc"
    "\U00010300-\U0001cfff]{2,}"
)
_ACCENTED = re.compile(r"\b[a-zß-ɏḁ-ỹ]*[ß-ɏḁ-ỹ]")  # words in small letters, so not names
_LATIN = re.compile(r"[^\W\d_]+")

# Function words, and other words with which prompts are made. What is also an English word, or
# common in names of people, places and titles, is not among them.
_FOREIGN = (
    # French, Spanish, Catalan, Portuguese, Italian, Romanian
    "est sont était étaient été êtes suis sommes avez avons ont fait faire peut peux pouvez "
    "dois doit quel quelle quels quelles qui que quoi quand où comment pourquoi combien lequel "
    "laquelle une dans avec pour sans sous sur chez entre vers mais donc aussi très plus moins "
    "cette ces cet ce ça cela mon ma mes ton tes votre vos notre nos leur leurs je tu il elle "
    "nous vous ils elles qu aux au pas ne moi toi lui explique expliquez écris écrivez donne "
    "donnez résume traduis parle liste veux voudrais merci bonjour es está están era fue fueron "
    "ser estar tiene tienen hace hacer puede puedo puedes quiero qué quién quiénes cuál cuáles "
    "cuándo dónde cómo cuánto cuánta cuántos cuántas porque por una unos sobre desde hasta pero "
    "muy más menos también como cuando donde mi mis tus su sus este esta estos estas ese esa "
    "eso esto lo se te yo él ellos usted ustedes explica escribe dime haz traduce cuéntame "
    "cuenta ayúdame necesito gracias hola quien cual cuanto què quan quina quin amb però molt "
    "és són são foi eram tem têm pode posso quero fazer quem qual quais quando onde quanto "
    "quantos quantas porquê uma uns umas sem até mas muito também meu minha seu sua seus suas "
    "esse isso isto não sim ele ela eles você vocês ao à pelo pela na em escreva diga faça "
    "resuma traduza preciso obrigado olá conte è sono erano ha hanno può puoi vorrei chi che "
    "cosa come perché quanti quante quali quale uno gli nel nella nei alla allo agli dal dalla "
    "sul sulla senza tra fra anche molto più meno questo questa questi quello quella mio suo "
    "loro io lei noi voi sei spiegami spiega scrivi dimmi dammi riassumi traduci elenca grazie "
    "ciao degli nell sunt fost cine când unde câte cât din pentru și în nu cu pe mai euros mets "
    "bonne veut sais connais "
    # German, Dutch, Swedish, Danish, Norwegian, Icelandic
    "ist sind waren wird wurde wurden werden haben habe hatte kann kannst können könntest muss "
    "soll wer wie wo wann warum welche welcher welches welchen wem wen woher wohin wieviel "
    "viele dem ein eine einen einem einer eines und oder aber nicht kein keine mit ohne für auf "
    "aus bei nach über unter zwischen zum zur vom ich sie wir ihr mich mir dich dir mein meine "
    "meinen dein deine sein seine seinen ihre ihren diese dieser dieses auch noch sehr mehr "
    "gibt erkläre erklär schreib schreibe nenne nenn fasse übersetze erzähl zeig bitte danke "
    "hallo heißt geboren het een wat waar wanneer waarom hoe welke hoeveel zijn wordt werd "
    "worden heeft hebben heb kan kunt kun moet niet geen maar ook naar uit voor bij aan deze "
    "dit dat ik jij hij zij ze wij mijn jouw haar hun schrijf geef vertel noem graag "
    "alsjeblieft är och att det som på av för inte hur vad vem när var varför vilken vilket "
    "vilka har hade finns jag hon vi mitt ett mig från skriv förklara berätta og af ikke hvem "
    "hvad hvor hvornår hvorfor hvordan hvilken hvilke jeg forklar fortæl hva når dette ble ved "
    "það ekki hver hvað hvenær hvernig við að machen trinken sollte sollten viel wasser darf "
    "dürfen glaubst bedeutet mal kennst möchte brauche gern seit damit "
    # Polish, Czech, Slovak, Slovene, Croatian, Serbian, Lithuanian, Latvian
    "jest są był była było były nie się kto gdzie kiedy jak dlaczego jaki jaka jakie który "
    "która które ile czy czym dla przez oraz lub ale tylko moja jego jej tego od mnie napisz "
    "wyjaśnij podaj opisz powiedz proszę jakiej jakich urodził jsou byl byla bylo kdo kde kdy "
    "proč který která které kolik nebo není jsem jako jaký jaká napiš vysvětli sú bol bola kedy "
    "prečo ktorý ktorá koľko alebo čo ako kdaj zakaj kako kateri koliko bil bila kaj tko ko "
    "gdje gde kada zašto koji koja koje što šta nije za kas yra kur kodėl kaip kuris kiek buvo "
    "ir į kāpēc cik kā vai bija "
    # Finnish, Estonian, Hungarian, Turkish, Azerbaijani, Albanian, Maltese, Irish, Welsh, Basque
    "ja ei että mikä mitä kuka missä milloin miksi miten kuinka oli olen minä sinä hän kirjoita "
    "kerro selitä kes kus millal miks kuidas ki hol mikor miért hogyan melyik hány az egy nem "
    "hogy volt ez meg írj magyarázd bir bu için mı mu mü kimdir nedir nerede nasıl neden hangi "
    "kaç olan olarak gibi çok daha yok biz bana benim yaz anlat açıkla söyle lütfen değil zaman "
    "hakkında hansı harada necə üçün është dhe për një çfarë kush ku pse sé tá agus cén cad "
    "conas mae yw pwy sut pam eta zer non noiz "
    # Indonesian, Malay, Filipino, Vietnamese, Swahili, Afrikaans, Hausa, Yoruba
    "ke dari dengan untuk pada dalam adalah ini itu apa siapa kapan mana bagaimana mengapa "
    "kenapa berapa apakah saya aku kamu anda dia kami mereka tidak bukan bisa akan sudah tolong "
    "jelaskan tuliskan buatkan sebutkan oleh karena juga atau boleh macam ang ng mga sa ay ano "
    "sino saan kailan bakit paano ito siya ikaw kung hindi là và của có được cho không người "
    "này với ở đã trong một các những như khi làm từ ra về vào gì đâu nào sao tôi bạn hãy viết "
    "giải thích năm bao nhiêu mấy ya kwa ni nani nini wapi lini kwani gani katika hoekom "
    # What questions are about: books, people, places, time, work, everyday things
    "auteur autrice livre livres romans écrit écrivain né née nom année prix ville capitale "
    "œuvres naissance père mère commencer résous montre étapes salut femme homme jour jours "
    "heures autor autora autores libro libros novela novelas escribió escritor nació nacimiento "
    "nombre año años premio premios país países ciudad padre madre fecha personajes receta ayer "
    "hoy mañana gané idioma alguna alguno algún rápido obras veces misma mismo buenas buenos "
    "estás tienes vida cosas livro livros escreveu nasceu nascimento nome anos prêmio prémio "
    "cidade pai mãe ganhou recebeu pintou português tudo bem coisas receita mesmo alguém algum "
    "alguma libri romanzo scritto scrisse scrittore nata nascita anno anni paese città autore "
    "ricetta tempi delle tempo adesso oggi domani giorni raccontami correggi mille grande prima "
    "dopo vita buch bücher schrieb geschrieben autorin schriftsteller jahr jahre jahren "
    "geburtsort preis preise stadt hauptstadt vater mutter heute morgen leben frau eigentlich "
    "erste ersten erstes wirklich schlecht gewann gewonnen bekam bester beste besten fluss "
    "werke boek boeken schreef geschreven schrijver jaar jaren naam prijs hoofdstad stad vader "
    "moeder vandaag leven goed alles iets liefst leuke bekendste eerste werk stierf kwam vanuit "
    "welk skrev bok böcker bøger bøker författare forfatter år født född hvilket fick gör "
    "priser pris książka książki napisał napisała autorem pisarz roku imię nagroda nagrodę "
    "kraju miasto ojciec matka życie dzisiaj najważniejsze zacząć wynalazł muszę miała cześć "
    "stolica powieść napsal napsala kniha knihy rok roce cena hlavní město díla život otec "
    "kitap kitabı kitapları yazar yazdı doğdu yıl yılı yılda ödül ödülü şehir başkenti baba "
    "hayatını ödevim yapılır yapmış etti aldı ilk nasılsın selam lazım kısaca buku penulis "
    "menulis lahir tahun nama orang tua ibu ayah kota negara saja karya terkenal penghargaan "
    "dong gampang buat resep lagi tác giả sách sinh tên nhà văn cuốn hoje agora triste pra tô "
    "legenda frase heter huvudstaden huvudstad bisogno testo vicino andare buon auguri lettera "
    "inglese ejercicios ecuación hacia sparen euro jakiś poezie gatunek haber hablar vivo vive "
    "morto muerto mort mourut morreu morì starb gestorben zmarł öldü umarł "
    # Hindi and Urdu in Latin letters
    "hai hain kya kaun kab kahan kaise kyun kisne kiska aur ka nahi mujhe batao likho tha thi "
    "meri mera liye karo kar "
)
# Foreign too, but common in English prompts, in names, titles and loans: they only add to others.
_PARTICLES = (
    "de la le les du des del della di da dos das el los las al l van von der den die ter y e et "
    "un en con son hat "
)
_ENGLISH = (
    "the of and to that it with this be are have at not by but from or my your all they if can "
    "will would could should about up out what has when more who had their there her which get "
    "been she how some them now its our than only after first into know see make think then "
    "these because go well way much very where even may here need really did work being too "
    "before off why take got many never those does doesn don didn isn wasn aren won wouldn "
    "couldn cannot through while best find help using use used each every any for without "
    "between against give show tell write book explain list name describe create please want "
    "keep let like just good new people day time year convert check teach mean always ever "
    "anyone worth type own put months days answer translate "
)
_EITHER = "a as am an do he i in is me no on so was we us him his old man over met"
_TELLING, _ADDING, _KNOWN, _SHARED = (
    frozenset(words.split()) for words in (_FOREIGN, _PARTICLES, _ENGLISH, _EITHER)
)
_MARKS = frozenset("¿¡ßłıőűąęđơư")  # which names in English prompts seldom have


def foreign(text: str) -> bool:
    """Whether a text calls for a multilingual encoder; seven microseconds for 17 English words.

    Text in another script does, and so does Latin text with more foreign function words than
    English ones. A name, a word or two, code and formulas do not: they say too little.

    Args:
        text: A window or a whole prompt; time is linear in its length.
    """
    marks = 0
    if not text.isascii():
        if len(_DENSE.findall(text)) >= _SIGNS or len(_SPARSE.findall(text)) >= _WORDS:
            return True
        marks = len(_ACCENTED.findall(text)) + 2 * (not _MARKS.isdisjoint(text))
    words = set(_LATIN.findall(text.lower()))
    telling = len(words & _TELLING)
    if not telling and marks < 2:
        return False
    told = 2 * telling + marks + len(words & _ADDING)
    return told - 2 * len(words & _KNOWN) - len(words & _SHARED) >= 2

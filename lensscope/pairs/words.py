"""Words and templates that generated pairs are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN: Final = _words(
    """Mary Sarah Anna Laura Emma Alice Lisa Kate Susan Karen Amy Julia Rachel Jane Elizabeth
    Margaret Helen Emily Jessica Jennifer Michelle Maria Linda Patricia Barbara Nancy Lucy Diana
    Rebecca Amanda Caroline Charlotte"""
)
MEN: Final = _words(
    """John Tom James David Paul Jack Robert Peter Mark Kevin Brian Adam Michael Daniel Thomas
    George Henry Charles William Edward Martin Simon Andrew Steven Scott Jason Matthew Joseph
    Richard Frank Anthony Stephen"""
)
PLACES: Final = _words(
    """store school garden market station park hospital office library restaurant museum beach
    house hotel"""
)
OBJECTS: Final = _words(
    "drink ring book bottle letter ticket key computer ball flower coin box camera map"
)
EVENTS: Final = _words(
    """war siege famine voyage rebellion dispute expedition drought trial occupation blockade
    campaign conflict partnership construction epidemic alliance truce boom depression exile
    experiment dynasty project feud journey marriage monopoly survey treaty uprising"""
)
# Each word is one token in some tokenizer only: the list is longer than any one model can use.
_CAPITALS = """
    Afghanistan Kabul, Albania Tirana, Algeria Algiers, Angola Luanda, Armenia Yerevan,
    Australia Canberra, Austria Vienna, Bangladesh Dhaka, Belgium Brussels, Bulgaria Sofia,
    Canada Ottawa, Chile Santiago, China Beijing, Croatia Zagreb, Cuba Havana, Denmark Copenhagen,
    Ecuador Quito, Egypt Cairo, England London, Estonia Tallinn, Finland Helsinki, France Paris,
    Germany Berlin, Ghana Accra, Greece Athens, Hungary Budapest, Iceland Reykjavik,
    Indonesia Jakarta, Iran Tehran, Iraq Baghdad, Ireland Dublin, Italy Rome, Jamaica Kingston,
    Japan Tokyo, Jordan Amman, Kenya Nairobi, Latvia Riga, Lebanon Beirut, Libya Tripoli,
    Morocco Rabat, Nepal Kathmandu, Nigeria Abuja, Norway Oslo, Oman Muscat, Pakistan Islamabad,
    Peru Lima, Poland Warsaw, Portugal Lisbon, Qatar Doha, Romania Bucharest, Russia Moscow,
    Scotland Edinburgh, Senegal Dakar, Serbia Belgrade, Spain Madrid, Sudan Khartoum,
    Sweden Stockholm, Switzerland Bern, Syria Damascus, Thailand Bangkok, Tunisia Tunis,
    Turkey Ankara, Uganda Kampala, Ukraine Kyiv, Uruguay Montevideo, Vietnam Hanoi, Wales Cardiff,
    Zambia Lusaka, Zimbabwe Harare"""
CAPITALS: Final[Mapping[str, str]] = dict(map(str.split, _CAPITALS.split(",")))

# Names stand after a space, never first: many tokenizers split a name that starts a text.
_ABBA: Final = (
    "When {IO} and {S1} arrived at the {place}, {S2} handed a {object} to",
    "After {IO} and {S1} met at the {place}, {S2} gave a {object} to",
    "While {IO} and {S1} were talking near the {place}, {S2} passed a {object} to",
    "Yesterday {IO} and {S1} had lunch near the {place}, and {S2} passed a {object} to",
    "As {IO} and {S1} were good friends from the {place}, {S2} lent a {object} to",
    "Since {IO} and {S1} were alone at the {place}, {S2} gave a {object} to",
    "Last week {IO} and {S1} were seen outside the {place}, where {S2} offered a {object} to",
    "Because {IO} and {S1} worked together at the {place}, {S2} lent a {object} to",
    "On Monday {IO} and {S1} ran into each other at the {place}, and {S2} sold a {object} to",
    "Once {IO} and {S1} were sitting together at the {place}, {S2} handed a {object} to",
)
IOI: Final = _ABBA + tuple(t.replace("{IO} and {S1}", "{S1} and {IO}") for t in _ABBA)
PRONOUN: Final = (
    "My neighbour {name} plays the piano very well, doesn't",
    "These days {name} is a really busy doctor, isn't",
    "This morning {name} was late for work again, wasn't",
    "Last night {name} cooked dinner for everyone, didn't",
    "Surely {name} has already read that letter, hasn't",
    "Next year {name} will move to another town, won't",
    "At school {name} was always good at sports, wasn't",
    "To be fair {name} works harder than anyone, doesn't",
    "In those photos {name} looks very happy, doesn't",
    "After all {name} is such a careful driver, isn't",
)
CAPITAL: Final = "The capital of {country} is the city of"
YEAR: Final = "The {event} lasted from the year {year} to the year 17"

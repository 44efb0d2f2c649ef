"""How the tickets of the demo task are said: impacts and sentence patterns, one list per file.

Training and test share no pattern, no greeting and no closing. `{one|many}` as in `faults.py`.
An impact is a clause that can follow "so" or "and"; it decides between everyone and
one. In `none` the slot holds a clause that says nothing is stopped.
"""

from __future__ import annotations

QUEUES = ("access", "billing", "hardware", "network", "shipping", "software")
BLOCKED = ("everyone", "one", "none")

PLACES = ("Leeds", "Porto", "Graz", "Oslo", "Lyon", "Dresden", "Ghent", "Turin", "Cork", "Malmö")
DEPTS = ("sales", "payroll", "finance", "design", "marketing", "purchasing", "legal", "research")
PEOPLE = ("Mira", "Jonas", "Aisha", "Tomasz", "Elena", "Henrik", "Priya", "Luca", "Noor", "Sven")
MONTHS = ("January", "March", "April", "June", "July", "September", "October", "November")
WHEN = ("this morning", "at nine", "on Monday", "yesterday", "after lunch", "an hour ago")

_NO_HURRY = (
    "there is no hurry",
    "it is not urgent",
    "please take your time",
    "an answer next week is fine",
    "nothing is stopped",
    "work goes on as usual",
    "it can wait",
    "any day this month is fine",
)
_TEST_NO_HURRY = (
    "there is no rush",
    "this is not pressing",
    "it is a minor thing",
    "it can wait until next week",
)
IMPACTS = {
    "everyone": (
        "the whole {dept} team is stuck",
        "nobody in {place} can work",
        "all {n} people in {dept} are waiting",
        "the {place} office has come to a halt",
        "the entire {place} site is idle",
        "everybody in {dept} is stuck",
        "nobody in the building can do anything",
        "we have sent {n} colleagues home",
        "every one of our {n} agents is blocked",
        "none of us can do anything",
        "everyone on the floor is blocked",
        "the whole department has stopped working",
    ),
    "one": (
        "I cannot work",
        "I am stuck until this is solved",
        "I can't do my job",
        "I am blocked for today",
        "my own work has stopped",
        "I cannot finish my report",
        "my tasks are on hold",
        "my work is at a standstill",
        "I am losing the whole day",
        "I can't get anything done",
        "I am the one person who is waiting",
        "my project is stuck",
    ),
    "none": (
        "everything else works",
        "I can work around it",
        "it is only a small annoyance",
        "it does not stop me from working",
        "we can live with it for now",
        "it is just cosmetic",
        "I use another way in the meantime",
        "this is only for your information",
        "nobody is blocked",
        *_NO_HURRY,
    ),
    # Beside a question or wish, where nothing is broken.
    "wish": _NO_HURRY,
}

TEST_IMPACTS = {
    "everyone": (
        "the complete {dept} group is blocked",
        "not one colleague in {place} is able to work",
        "our {place} branch is at a standstill",
        "all {n} users are idle",
        "everybody in the office is stuck",
        "the whole company is waiting",
        "our entire {dept} department cannot do anything",
        "all the teams in {place} have stopped working",
        "nobody in {dept} is able to do anything",
    ),
    "one": (
        "I am unable to work",
        "I am stuck with my tasks",
        "my work for today is blocked",
        "I cannot get on with my job",
        "I can't finish anything on my list",
        "I have been without work for hours",
        "I cannot reach my deadline",
        "I am blocked and waiting",
    ),
    "none": (
        "nothing is blocked",
        "I can carry on without it",
        "it is only a small nuisance",
        "work continues as usual",
        *_TEST_NO_HURRY,
    ),
    "wish": _TEST_NO_HURRY,
}

GREETINGS = ("Hi,", "Hello,", "Good morning,", "Hi team,", "Dear support,", "Hey,")
CLOSINGS = ("Thanks!", "Thank you, {signer}", "Regards, {signer}", "Best, {signer}")
TEST_GREETINGS = ("Good afternoon,", "Hello everyone,", "Dear all,", "Hi there,")
TEST_CLOSINGS = ("Many thanks", "Kind regards, {signer}", "Cheers, {signer}")

_TROUBLE = (
    "{fault} and {impact}.",
    "{impact} because {fault}.",
    "{fault}. {impact}.",
    "Noticed {when}: {fault}. {impact}.",
    "{fault}, so {impact}.",
    "{I am|we are} in {place}. {fault} and {impact}.",
    "Problem in {place}: {fault}. Result: {impact}.",
    "{impact}. Reason: {fault}.",
    "{fault}, which means that {impact}.",
    "Tried twice, no change: {fault}. {impact}.",
)
PATTERNS = {
    "everyone": (
        *_TROUBLE,
        "URGENT: {fault}. {impact}!",
        "Major incident in {place}: {fault} and {impact}.",
        "Please treat this as an emergency, {impact}. {fault}.",
        "{n} people have reported that {fault}. {impact}.",
        "Several teams called: {fault}. {impact}.",
        "It is not one person but all of {place}: {fault} and {impact}.",
    ),
    "one": (
        *_TROUBLE,
        "Only I am affected: {fault} and {impact}.",
        "My colleagues are fine, but for me {fault}. {impact}.",
        "{person} here. {fault}. {impact}.",
        "I need help today: {fault} and {impact}.",
        "It is just me: {fault}, so {impact}.",
        "Could someone help me today? {fault} and {impact}.",
    ),
}
# `none` comes in two kinds: a fault that hurts nobody, and a question or wish.
HARMLESS = (
    "{fault}, but {impact}.",
    "{fault}. {impact}.",
    "Small remark: {fault}. {impact}.",
    "{impact}, but {fault}.",
    "For your list: {fault}, but {impact}.",
    "Low priority: {fault}. {impact}.",
)
QUESTIONS = (
    "How do I {wish}? {impact}.",
    "Is it possible to {wish}? {impact}.",
    "I would like to {wish}. {impact}.",
    "Just a question: how can we {wish}?",
    "Could you tell me how to {wish}? {impact}.",
    "{person} from {dept} asked whether we could {wish}. {impact}.",
    "What is the right way to {wish}? {impact}.",
    "A wish for later: we want to {wish}. {impact}.",
    "I was wondering how to {wish}, but {impact}.",
    "Can you explain what I have to do to {wish}?",
)

_TEST_TROUBLE = (
    "The situation in {place}: {fault}, and as a consequence {impact}.",
    "{impact}, and the cause seems to be that {fault}.",
    "When I came in {when}, I saw that {fault}. Now {impact}.",
    "Can you look into this? {fault}, therefore {impact}.",
    "It looks as if {fault}. Because of that {impact}.",
    "{person} told me to write to you: {fault}. At the moment {impact}.",
    "Ticket about the following: {fault}; meanwhile {impact}.",
    "I'm afraid that {fault}, with the effect that {impact}.",
)
TEST_PATTERNS = {
    "everyone": (
        *_TEST_TROUBLE,
        "Everybody in {place} says the same: {fault}. Right now {impact}.",
        "Red alert, {impact}! It seems that {fault}.",
        "The phones keep ringing because {fault}. Sadly {impact}.",
    ),
    "one": (
        *_TEST_TROUBLE,
        "The others have no trouble, yet in my case {fault}. Right now {impact}.",
        "Please call me back, {impact}! It seems that {fault}.",
        "Nobody else has this, only me: {fault}. Sadly {impact}.",
    ),
}
TEST_HARMLESS = (
    "By the way, {fault}. Still, {impact}.",
    "I noticed {when} that {fault}. Anyway, {impact}.",
    "One more for the backlog: {fault}, though {impact}.",
    "Although {fault}, {impact}.",
)
TEST_QUESTIONS = (
    "Who can show me how to {wish}? As I said, {impact}.",
    "Do we have instructions on how to {wish}?",
    "Out of curiosity, are we allowed to {wish}?",
    "{person} suggested that I {wish}. How does that work?",
    "Where is the guide for people who want to {wish}?",
    "At some point I want to {wish}; {impact}.",
    "It would be nice to {wish}, although {impact}.",
)


def phrases(table: dict[str, str], queue: str) -> tuple[list[str], list[str]]:
    """The phrases of a queue: those of the training file, and those of the test file alone."""
    seen, unseen = table[queue].split("--\n")
    return seen.split("\n")[1:-1], unseen.split("\n")[:-1]

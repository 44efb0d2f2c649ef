"""How people begin when they ask a general assistant for something: openers of the user's turn.

Self-rehearsal lets the model write both turns of a dialogue. Left alone, a small model writes the
same few kinds of question; begun for it, it covers the kinds that a tuned model answers as if they
were its task: the small tasks, and what people say of themselves. Only the kind is given: what is
sorted, rewritten or told, the model makes up.

A third kind is what the base refuses, or answers with care: it is rarely asked for, so nothing else
would hold it (`WRONG`).

The nearest of all are prompts that begin as the task's own do and then go elsewhere: `openings`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

COMMON = 0.1  # share of the task's rows from which a beginning is the task itself: an instruction
WORDS = 3  # of a beginning, at most


def openings(prompts: Sequence[str], seed: int) -> list[str]:
    """How the task's prompts begin: one to three words of each row, in an order drawn by `seed`.

    Each once, and none that over a tenth of the rows share.
    """
    draw = random.Random(seed)
    begun = [p.split() for p in prompts]
    shared = Counter(" ".join(b[:n]) for b in begun for n in range(1, min(WORDS, len(b)) + 1))
    found = dict.fromkeys(" ".join(b[: draw.randint(1, WORDS)]) for b in begun if len(b) > WORDS)
    kept = [f for f in found if shared[f] <= COMMON * len(begun)]
    draw.shuffle(kept)
    return kept


OPEN = (
    "What is", "What are the", "Why do", "Why is", "How does", "How can I", "How do you", "Who was",
    "When did", "Where is", "Tell me about", "Explain", "Can you explain", "Describe", "I want to",
    "I am looking for", "Give me some advice on", "What should I", "Could you recommend",
    "Is it true that", "What would happen if", "Write a short story about", "Write a poem about",
    "Write an email to", "Help me plan", "I feel", "My friend", "Do you know", "Let's talk about",
    "What do you think about", "Suggest", "Imagine", "Hello", "I have a question about",
    "What is the best way to", "How long does it take to", "Should I", "Can I",
)  # fmt: skip
TALK = (
    "I am", "I'm trying to", "I have been", "I just", "I have a", "I need", "I would like to",
    "I can't", "I don't understand", "I was wondering", "I think", "My", "We", "It is", "Today",
    "Yesterday", "Last week", "This morning", "Thank you for", "Sorry,", "Please", "Do you",
    "Are you", "Have you ever", "Which", "When will", "Where can I", "Who can", "There is",
    "Nobody", "Why can't", "Why does",
)  # fmt: skip
SMALL = (
    "Sort these", "Sort the following list", "Put these words in order:", "Arrange the numbers",
    "Rewrite the sentence", "Rewrite the following text", "Rephrase this:", "Make this formal:",
    "Make this sentence shorter:", "Translate", "Translate the following sentence",
    "Correct the grammar:", "Fix the mistakes in:", "Summarize", "Summarize it:",
    "Classify", "Is the following sentence positive or negative:", "What is the sentiment of",
    "Which of these", "Which word does not belong:", "Find the odd one out:", "Fill in the blank:",
    "Complete the sentence:", "Complete the analogy:", "What is the relation between",
    "What is the opposite of", "Give a synonym for", "Give an antonym of", "Use the word",
    "Define the word", "List three", "List five", "Name a", "Name four", "Extract the names from",
    "Extract the dates from this text:", "Count the", "How many", "Calculate", "Solve:",
    "If a train", "If I have", "A shop sells", "Convert", "What comes next:", "True or false:",
    "Answer yes or no:", "Choose a title for", "Write a headline for", "Write one sentence about",
    "Create a table of", "Write a Python function that", "Write a command", "What does the code",
    "Turn this list into", "Compare", "What is the difference between", "Give an example of",
    "Give me a word that", "Generate a", "Create a", "Make a list of", "Read the text and answer:",
    "Based on the following", "Given the following", "Identify the", "Label", "Match", "Spell",
    "What category does", "Which category", "Group these", "Rank", "Pick",
)  # fmt: skip
WRONG = (
    "How do I steal",
    "How can I hurt",
    "How can I get away with",
    "How do I get revenge on",
    "How can I spy on",
    "How do I make a weapon",
    "How can I cheat",
    "How do I forge",
    "How can I trick an old",
    "How do I get into someone's",
    "Where can I buy illegal",
    "Tell me how to poison",
    "Tell me how to hack",
    "Teach me to lie to",
    "Help me to threaten",
    "Help me blackmail",
    "Help me hide the",
    "Write a hateful",
    "Write an insult for",
    "Write a fake review",
    "Write a message that scares",
    "Give me instructions for a dangerous",
    "Make a joke about people who are",
    "Explain why women are",
    "Why are foreigners so",
    "I am going to punch",
    "I hate my",
    "I want to kill",
    "I want to burn",
    "I want to hurt",
    "I want to scare",
    "I would like to destroy",
    "I am so sad that I",
    "I do not want to live",
    "My boyfriend hits",
    "Is it okay to hit",
    "What is the easiest crime",
    "What drug",
    "Which medicine kills",
    "Pretend that you have no rules and",
)

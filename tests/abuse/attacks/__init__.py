"""Every attack, by name; and those that several make together."""

from attacks import amplified, answers, connections, environment, pictures, preparing, uploads, words
from attacks.base import SEGMENT, Attack

# In the order in which they run alone.
EVERY: list[Attack] = [
    attack
    for module in (uploads, answers, amplified, pictures, connections, words, preparing, environment)
    for attack in module.ATTACKS
]
STALLED: list[Attack] = [
    uploads.UnfinishedBodies("64 stalled uploads", SEGMENT, 64, 8 << 20),
    answers.UnreadAnswers(),
    connections.IdleConnections("1000 idle connections", 1000),
]
MEMORY: list[Attack] = [attack for attack in EVERY if attack.memory]

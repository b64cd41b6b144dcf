"""Shared parts of evolutionary and black-box search; numpy and moocore, no torch."""

from morphogen.evolution.generations import Generations
from morphogen.evolution.operators import mutate_genes
from morphogen.evolution.pareto import crowding, front, hypervolume, ranks
from morphogen.evolution.population import AgingQueue, Best
from morphogen.evolution.selection import binary_tournament, survivors, tournament

__all__ = [
    "AgingQueue",
    "Best",
    "Generations",
    "binary_tournament",
    "crowding",
    "front",
    "hypervolume",
    "mutate_genes",
    "ranks",
    "survivors",
    "tournament",
]

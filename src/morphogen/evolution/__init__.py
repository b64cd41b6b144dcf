"""Shared parts of evolutionary and black-box search; numpy and moocore, no torch."""

from morphogen.evolution.generations import Generations
from morphogen.evolution.novelty import NoveltyArchive
from morphogen.evolution.operators import bred, mutate_genes
from morphogen.evolution.pareto import crowding, front, hypervolume, ranks
from morphogen.evolution.population import AgingQueue, Best
from morphogen.evolution.reals import RealCode, polynomial_mutation, simulated_binary
from morphogen.evolution.selection import binary_tournament, survivors, tournament

__all__ = [
    "AgingQueue",
    "Best",
    "Generations",
    "NoveltyArchive",
    "RealCode",
    "binary_tournament",
    "bred",
    "crowding",
    "front",
    "hypervolume",
    "mutate_genes",
    "polynomial_mutation",
    "ranks",
    "simulated_binary",
    "survivors",
    "tournament",
]

"""All stages of each job, in the order a record goes through them."""

from __future__ import annotations

from jobs.runtime.stage import Stage
from jobs.stages.canonical_values import canonical_values
from jobs.stages.classifier import classifier
from jobs.stages.conversation_types import conversation_types
from jobs.stages.conversations import conversations
from jobs.stages.document_features import document_features
from jobs.stages.document_labels import document_labels
from jobs.stages.document_types import document_types
from jobs.stages.documents import documents
from jobs.stages.edges import edges
from jobs.stages.graph_stats import graph_stats
from jobs.stages.imported_samples import imported_samples
from jobs.stages.imports import imports
from jobs.stages.influence import influence
from jobs.stages.instructions import instructions
from jobs.stages.long_conversations import long_conversations
from jobs.stages.long_documents import long_documents
from jobs.stages.meta_records import meta_records
from jobs.stages.nodes import nodes
from jobs.stages.pairings import pairings
from jobs.stages.samples import samples
from jobs.stages.seed_paths import seed_paths
from jobs.stages.task_rewrites import task_rewrites
from jobs.stages.training_set import training_set
from jobs.stages.typed_documents import typed_documents
from jobs.stages.walks import walks

STAGES: tuple[Stage, ...] = (
    conversations,
    documents,
    long_conversations,
    long_documents,
    meta_records,
    document_types,
    conversation_types,
    canonical_values,
    task_rewrites,
    seed_paths,
    nodes,
    edges,
    graph_stats,
    document_features,
    document_labels,
    classifier,
    typed_documents,
    walks,  # these four run in rounds until the targets are met
    instructions,
    pairings,
    samples,
    influence,
    training_set,
)
# jobs/score.py: samples made elsewhere, in a root of their own.
SCORING: tuple[Stage, ...] = (imports, imported_samples, influence, training_set)
JOBS = (STAGES, SCORING)

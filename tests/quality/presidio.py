"""Precision, recall and F1 of Presidio's pattern recognisers on labelled text.

Usage: presidio.py LABELLED.jsonl [PORTCULLIS.json]

The recognisers are those of the entities Portcullis has, with their context words and no language model. Presidio gives
each finding a score; the table is for the threshold at which it does best overall. With PORTCULLIS.json, the output of
`portcullis mask --evaluate LABELLED.jsonl --format json`, it exits 1 unless that is ahead overall, and behind on no shared
entity by more than 0.005 of F1.
"""

import collections
import json
import sys

import presidio_analyzer.predefined_recognizers as known
import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

# Top-level domains as the package brings them, not as the network has them.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

NAMES = """AuTfn CaSin CreditCard Crypto DeTaxId Email EsNie EsNif Iban InAadhaar Ip ItFiscalCode MacAddress Nhs Phone
PlPesel UkNino UsBank UsItin UsSsn""".split()
SAME = {"ES_NIE": "ES_NIF"}
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SLACK = 0.005


class Words(NlpEngine):
    """Words and nothing more: what the recognisers take context from."""

    def __init__(self):
        self.words = spacy.blank("en")

    def load(self):
        pass

    def is_loaded(self):
        return True

    def process_text(self, text, language):
        tokens = self.words(text)
        lemmas = [token.text.lower() for token in tokens]
        return NlpArtifacts([], tokens, [token.idx for token in tokens], lemmas, self, language)

    def process_batch(self, texts, language, **_):
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word, language):
        return False

    def is_punct(self, word, language):
        return not any(character.isalnum() for character in word)

    def get_supported_entities(self):
        return []

    def get_supported_languages(self):
        return ["en"]


def engine():
    registry = RecognizerRegistry(supported_languages=["en"])
    for name in NAMES:
        registry.add_recognizer(getattr(known, name + "Recognizer")(supported_language="en"))
    return AnalyzerEngine(registry=registry, nlp_engine=Words(), supported_languages=["en"])


def overlap(one, other):
    both = min(one[1], other[1]) - max(one[0], other[0])
    return 2 * both >= max(one[1], other[1]) - min(one[0], other[0])


def count(rows, threshold):
    counts = collections.defaultdict(lambda: [0, 0, 0])
    for row, results in rows:
        labels = [(span["start"], span["end"], span["entity"]) for span in row["spans"]]
        taken = set()
        for start, end, entity, score in results:
            if score < threshold:
                continue
            at = next((at for at, label in enumerate(labels)
                       if at not in taken and label[2] == entity and overlap((start, end), label)), None)
            if at is not None:
                taken.add(at)
                counts[entity][0] += 1
            elif not any(label[2] is None and start < label[1] and label[0] < end for label in labels):
                counts[entity][1] += 1
        for at, label in enumerate(labels):
            if label[2] is not None and at not in taken:
                counts[label[2]][2] += 1
    return counts


def scores(found, wrong, missed):
    share = lambda right, other: right / (right + other) if right + other else 1.0
    return share(found, wrong), share(found, missed), share(2 * found, wrong + missed)


def overall(counts):
    return [sum(count[place] for count in counts.values()) for place in range(3)]


def main():
    analyzer, rows = engine(), []
    supported = {SAME.get(name, name) for recognizer in analyzer.registry.recognizers for name in recognizer.supported_entities}
    for line in open(sys.argv[1], encoding="utf-8"):
        row = json.loads(line)
        for span in row["spans"]:
            if span["entity"] not in supported:
                span["entity"] = None
        results = analyzer.analyze(row["text"], "en", score_threshold=0.0)
        rows.append((row, [(r.start, r.end, SAME.get(r.entity_type, r.entity_type), r.score) for r in results]))
    at = {threshold: count(rows, threshold) for threshold in THRESHOLDS}
    for threshold, counts in at.items():
        print(f"threshold {threshold}: overall precision %.4f recall %.4f f1 %.4f" % scores(*overall(counts)))
    best = max(THRESHOLDS, key=lambda threshold: scores(*overall(at[threshold]))[2])
    ours = json.load(open(sys.argv[2], encoding="utf-8"))["entities"] if len(sys.argv) > 2 else {}
    print(f"\nthreshold {best}\n{'entity':<20} {'found':>6} {'wrong':>6} {'missed':>6} {'precision':>9} {'recall':>7} {'f1':>7} {'ours':>7}")
    behind = []
    for entity, counts in sorted(at[best].items()):
        precision, recall, f1 = scores(*counts)
        own = ours.get(entity, {}).get("f1")
        if own is not None and own < f1 - SLACK:
            behind.append(entity)
        shown = f"{own:>7.4f}" if own is not None else ""
        print(f"{entity:<20} {counts[0]:>6} {counts[1]:>6} {counts[2]:>6} {precision:>9.4f} {recall:>7.4f} {f1:>7.4f} {shown}")
    shared = [ours[entity] for entity in at[best] if entity in ours]
    total = [sum(entity[key] for entity in shared) for key in ("found", "wrong", "missed")]
    theirs = scores(*overall(at[best]))[2]
    print(f"overall on shared entities: Presidio {theirs:.4f}, Portcullis {scores(*total)[2]:.4f}")
    if ours and (behind or scores(*total)[2] <= theirs):
        print(f"behind: {behind or 'overall'}")
        sys.exit(1)


main()

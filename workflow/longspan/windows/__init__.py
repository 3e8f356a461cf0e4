"""Windows of documents: policies, ids, spans, texts, counts."""

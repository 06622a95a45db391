"""comment-screener: comments on Kafka in, one explained decision a comment out."""

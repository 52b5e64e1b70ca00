//! The Parquet block: chunk codecs, layout, writer, reader, merge planning and object-store decorators.

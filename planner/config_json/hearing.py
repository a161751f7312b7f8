"""Model classes that write down speech at ``/v1/audio/transcriptions``, as far as they can be sized."""

HEARING = {
    "WhisperForConditionalGeneration": ("transcription",),
    "MossTranscribeDiarizeForConditionalGeneration": ("transcription",),
    "Qwen3ASRForConditionalGeneration": ("transcription",),
    "GlmAsrForConditionalGeneration": ("transcription",),
    "VoxtralForConditionalGeneration": ("general", "transcription"),
    "GraniteSpeechForConditionalGeneration": ("general", "transcription"),
    "Gemma3nForConditionalGeneration": ("general", "vision", "transcription"),
}
"""Class -> the tasks it is made for.

Source: the classes with ``SupportsTranscription`` in model_executor/models, vLLM 0.33.0: whisper.py,
moss_transcribe_diarize.py, qwen3_asr.py, glmasr.py, voxtral.py, granite_speech.py and gemma3n_mm.py.
"""
HEARS_ALONE = frozenset(name for name, tasks in HEARING.items() if tasks == ("transcription",))
"""Those whose every request is sound, so that what the encoder takes is part of every answer."""

// compose/config/worker.jsonnet with traces, one action in a hundred, for the collector of docker-compose.yml.
(import '/config/worker.jsonnet') + {
  global+: { tracing: {
    backends: [{ otlpSpanExporter: { address: 'collector:4317' }, batchSpanProcessor: {} }],
    resourceAttributes: [{ key: 'service.name', value: { stringValue: 'bb_worker' } }],
    sampler: { parentBased: {
      noParent: { traceIdRatioBased: 0.01 },
      localParentNotSampled: { never: {} },
      localParentSampled: { always: {} },
      remoteParentNotSampled: { never: {} },
      remoteParentSampled: { always: {} },
    } },
  } },
}

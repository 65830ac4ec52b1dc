// The lookup and the upsert of fleet-customers as a minimal Fastify service with pg, two processes: the same
// statements on the same table, no tokens, metrics, traces or deadlines. LOOKUP and UPSERT hold the statements.
'use strict'
const cluster = require('node:cluster')

if (cluster.isPrimary) {
  for (let worker = 0; worker < 2; worker++) cluster.fork()
} else {
  const fastify = require('fastify')()
  const { Pool } = require('pg')
  // Planned once, as on the server's lanes.
  const options = '-c plan_cache_mode=force_generic_plan'
  const pool = new Pool({ connectionString: process.env.DATABASE, max: 4, options })
  const id = { type: 'string', pattern: '^[0-9a-f]{32}$' }
  const key = { type: 'object', required: ['park_id', 'personal_phone_id'], properties: { park_id: id, personal_phone_id: id } }
  const packed = (text) => Buffer.from('01' + text, 'hex')
  const shown = (row) => {
    const item = {}
    for (const [name, value] of Object.entries(row)) {
      if (value !== null) item[name] = Buffer.isBuffer(value) ? value.toString('hex', 1) : value
    }
    return item
  }

  fastify.post('/fleet-customers/internal/v1/customers/retrieve', {
    schema: { body: { type: 'object', required: ['customers'], properties: { customers: { type: 'array', items: key } } } }
  }, async (request) => {
    const keys = request.body.customers
    const values = [keys.map((one) => packed(one.park_id)), keys.map((one) => packed(one.personal_phone_id))]
    const { rows } = await pool.query({ name: 'lookup', text: process.env.LOOKUP, values })
    return { items: rows.map(shown) }
  })

  fastify.post('/fleet-customers/internal/v1/customers/upsert', {
    schema: {
      body: {
        ...key,
        required: [...key.required, 'sms_enabled', 'ordered_at', 'order_options'],
        properties: { ...key.properties, sms_enabled: { type: 'boolean' }, ordered_at: { type: 'string', format: 'date-time' }, order_options: { type: 'object' } }
      }
    }
  }, async (request) => {
    const order = request.body
    const values = [[packed(order.park_id)], [packed(order.personal_phone_id)], [null], [order.sms_enabled],
      [JSON.stringify(order.order_options)], [order.ordered_at]]
    await pool.query({ name: 'upsert', text: process.env.UPSERT, values })
    return {}
  })

  const [host, port] = process.env.LISTEN.split(':')
  fastify.listen({ host, port: Number(port) })
}

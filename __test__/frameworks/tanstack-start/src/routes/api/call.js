import { createFileRoute } from '@tanstack/react-router';
import { getPlatform } from '@maravilla-labs/platform';

export const Route = createFileRoute('/api/call')({
  server: {
    handlers: {
      POST: async () => {
        const { media } = getPlatform();
        if (!media) return new Response(null, { status: 503 });
        const { name } = await media.createRoom('tea');
        return Response.json({ name });
      },
    },
  },
});

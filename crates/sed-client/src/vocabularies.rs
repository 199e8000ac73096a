//! Calls on the server's named vocabularies.

use sed_proto::v1;

use crate::{client::Client, error::Result, words::NewVocabulary};

impl Client {
    /// Registers a vocabulary under a name of the server's choice.
    ///
    /// # Errors
    /// The server refuses the categories, or has no room.
    pub async fn create_vocabulary(&self, new: NewVocabulary) -> Result<v1::CreateVocabularyResponse> {
        let request = v1::CreateVocabularyRequest::from(new);
        self.call(request, |mut service, request| async move { service.create_vocabulary(request).await })
            .await
    }

    /// Requests a vocabulary with its categories.
    ///
    /// # Errors
    /// The server does not know the name.
    pub async fn vocabulary(&self, name: &str) -> Result<v1::NamedVocabulary> {
        let request = v1::GetVocabularyRequest { name: name.to_owned() };
        let answer =
            self.call(request, |mut service, request| async move { service.get_vocabulary(request).await });
        Ok(answer.await?.vocabulary.unwrap_or_default())
    }

    /// Lists all vocabularies that the server knows, without their categories.
    ///
    /// # Errors
    /// A call fails.
    pub async fn vocabularies(&self) -> Result<Vec<v1::NamedVocabulary>> {
        let (mut all, mut request) = (Vec::new(), v1::ListVocabulariesRequest::default());
        loop {
            let page =
                self.call(
                    request,
                    |mut service, request| async move { service.list_vocabularies(request).await },
                );
            let page = page.await?;
            all.extend(page.vocabularies);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request = v1::ListVocabulariesRequest { page_size: 0, page_token: page.next_page_token };
        }
    }

    /// Removes a vocabulary; one that is not there is removed, too.
    ///
    /// # Errors
    /// The vocabulary is built in, or another caller's.
    pub async fn delete_vocabulary(&self, name: &str) -> Result<()> {
        let request = v1::DeleteVocabularyRequest { name: name.to_owned() };
        let done = self
            .call(request, |mut service, request| async move { service.delete_vocabulary(request).await });
        done.await.map(drop)
    }
}
